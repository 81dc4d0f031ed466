"""The files of the emoji: images, names, keywords, groups and splits."""

import dataclasses
import functools
import json

import numpy as np
from jaxtyping import Int, UInt8

from kdjax.data import _files
from kdjax.data._splits import named
from kdjax.errors import UserError

GROUPS = (
  "Activities",
  "Animals & Nature",
  "Flags",
  "Food & Drink",
  "Objects",
  "People & Body",
  "Smileys & Emotion",
  "Symbols",
  "Travel & Places",
)

# Pixels a side of an image of the sheet.
SIDE = 64

_WHAT = (
  "It combines https://github.com/googlefonts/noto-emoji, the names of"
  " https://github.com/muan/unicode-emoji-json and the keywords of"
  " https://github.com/muan/emojilib: images of 64x64, 25 a row, and in `items`"
  " the name, keywords, group and split of each."
)


@dataclasses.dataclass(frozen=True)
class Emoji:
  """All emoji, in the order of the sheet.

  Attributes:
    images: on white.
    names: of each.
    keywords: of each, without one that repeats the name; separated by ", ".
    group: a position in GROUPS.
    split: "train", "validation" or "test".
  """

  images: UInt8[np.ndarray, "N 64 64 3"]
  names: tuple[str, ...]
  keywords: tuple[str, ...]
  group: Int[np.ndarray, "N"]
  split: np.ndarray

  @property
  def texts(self) -> tuple[str, ...]:
    """Name and keywords of each."""
    pairs = zip(self.names, self.keywords, strict=True)
    return tuple(", ".join(filter(None, pair)) for pair in pairs)


@functools.cache
def emoji(root: str) -> Emoji:
  """All emoji, from the files in root/emoji."""
  path = _files.find(root, "emoji/meta.json.gz", _WHAT)
  sheet = _files.find(root, "emoji/sheet.webp", _WHAT)
  try:
    meta = json.loads(_files.gunzip(path))
    items = meta["items"]
    names = tuple(item["name"] for item in items)
    keywords = tuple(_listed(it["name"], it["keywords"]) for it in items)
    group = np.array([item["group"] for item in items], np.int32)
    split = np.array([str(named(item["split"])) for item in items])
  except (ValueError, KeyError, TypeError) as error:
    raise UserError(
      f"'{path}' has unexpected content: {error!r}.", _WHAT
    ) from error
  if tuple(meta.get("groups", ())) != GROUPS:
    raise UserError(
      f"The groups of '{path}' are {meta.get('groups')}.",
      f"Expected {', '.join(GROUPS)}.",
    )
  images = _tiles(sheet, len(items))
  _files.readonly(images, group, split)
  return Emoji(images, names, keywords, group, split)


def _listed(name: str, keywords: list[str]) -> str:
  """Keywords in one text, without one that repeats the name."""
  words = [word.replace("_", " ") for word in keywords]
  return ", ".join(word for word in words if word != name)


def _tiles(path: str, count: int) -> UInt8[np.ndarray, "N 64 64 3"]:
  from PIL import Image

  try:
    with Image.open(path) as image:
      sheet = np.asarray(image.convert("RGB"))
    tiles = sheet.reshape(-1, SIDE, 25, SIDE, 3).transpose(0, 2, 1, 3, 4)
  except (OSError, ValueError) as error:
    raise UserError(f"'{path}' cannot be read: {error}.", _WHAT) from error
  tiles = tiles.reshape(-1, SIDE, SIDE, 3)
  if len(tiles) < count:
    raise UserError(
      f"'{path}' has {len(tiles)} images, expected {count}.", _WHAT
    )
  return tiles[:count].copy()
