"""Emoji: 1,644 pictures, each with its name and keywords, in nine groups.

1,329 / 152 / 163, drawn by a hash of the name, from root/emoji/sheet.webp and
meta.json.gz. A text is the name and then the keywords, as ids of words; the
vocabulary is that of the training texts. Classes are of very different sizes:
386 are people, 8 are flags. Five pictures equal another one.

Pictures: Noto Emoji by Google, Apache-2.0. Names and groups: Unicode; keywords:
emojilib, MIT.
"""

import dataclasses
import functools
import json

import jax
import numpy as np
from jaxtyping import Int, UInt8

from kdjax.data import _files, _options, _subset, _texts
from kdjax.data._splits import check, named
from kdjax.errors import UserError
from kdjax.feed.sources import ArraySource
from kdjax.preprocess.words import Vocabulary
from kdjax.types import Spec

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

# A picture of the sheet has this many pixels a side.
SIDE = 64

_WHAT = (
  "It was made of https://github.com/googlefonts/noto-emoji, with the names of"
  " https://github.com/muan/unicode-emoji-json and the keywords of"
  " https://github.com/muan/emojilib: pictures of 64x64, 25 a row, and of each"
  " in `items` its name, keywords, group and split."
)

# All seeds have the same examples.
SEED_DRAWS = False


@dataclasses.dataclass(frozen=True)
class Emoji:
  """All of them, in the order of the sheet.

  Attributes:
    images: the pictures, on white.
    texts: name and keywords.
    group: a place in GROUPS.
    split: "train", "validation" or "test".
  """

  images: UInt8[np.ndarray, "N 64 64 3"]
  texts: tuple[str, ...]
  group: Int[np.ndarray, "N"]
  split: np.ndarray


def class_names(**options) -> tuple[str, ...]:
  """What label 0, 1, ... stands for.

  Args:
    **options: those of `load`; none changes it.
  """
  _options.chosen(load, options)
  return GROUPS


def ids(**options) -> dict[str, int]:
  """How many ids the texts have; {} where their file is not there.

  Args:
    **options: those of `load`.
  """
  return _texts.ids(vocabulary, _options.chosen(load, options))


def spec(**options) -> Spec:
  """What one example holds.

  Args:
    **options: those of `load`; `size`, and what is said of texts, change it.
  """
  chosen = _options.chosen(load, options)
  size = chosen["size"]
  return {
    "image": jax.ShapeDtypeStruct((size, size, 3), np.uint8),
    **_texts.spec(chosen["length"], chosen["tokenizer"], chosen["pieces"]),
    "label": jax.ShapeDtypeStruct((), np.int32),
    "index": jax.ShapeDtypeStruct((), np.int32),
  }


def load(
  split: str,
  seed: int | None = None,
  *,
  root: str = "",
  size: int = 64,
  vocabulary_size: int = 5000,
  length: int = 32,
  tokenizer: str = "",
  pieces: int = 64,
  limit: int = 0,
) -> ArraySource:
  """The examples of a split; `index` is the place on the sheet.

  Args:
    split: "train", "validation" or "test".
    seed: draws nothing here.
    root: the folder that holds emoji/.
    size: pixels a side, 64, 32 or 16: means of squares of 1, 2 or 4.
    vocabulary_size: ids at most, 0 for padding and 1 for unknown words among
      them.
    length: words of a text; longer ones are cut, which at 32 none is.
    tokenizer: of a pretrained network that reads the same texts, as `pieces`:
      a folder, "package:name/folder" or a name of the hub; "" leaves them out.
    pieces: how many of them a text has at most.
    limit: the most that a split has, of every group its share; 0 is all.

  Raises:
    UserError: a file is missing, or is not what it should be.
  """
  del seed
  check(split, 0.0)
  _options.check_counts(limit=limit)
  if size not in (64, 32, 16):
    raise UserError(f"size={size}.", exists=("64", "32", "16"))
  found = emoji(root)
  places = np.flatnonzero(found.split == split)
  places = places[_subset.limited(found.group[places], limit)]
  texts = [found.texts[place] for place in places]
  return ArraySource(
    {
      "image": _smaller(found.images[places], SIDE // size),
      **_texts.columns(
        vocabulary(root, vocabulary_size), texts, length, tokenizer, pieces
      ),
      "label": found.group[places],
      "index": places.astype(np.int32),
    }
  )


@functools.cache
def vocabulary(root: str, vocabulary_size: int) -> Vocabulary:
  """The words of the training texts."""
  found = emoji(root)
  pairs = zip(found.texts, found.split, strict=True)
  texts = [text for text, split in pairs if split == "train"]
  return Vocabulary.build(texts, vocabulary_size)


@functools.cache
def emoji(root: str) -> Emoji:
  """All emoji of root/emoji."""
  path = _files.find(root, "emoji/meta.json.gz", _WHAT)
  sheet = _files.find(root, "emoji/sheet.webp", _WHAT)
  try:
    meta = json.loads(_files.gunzip(path))
    items = meta["items"]
    texts = tuple(_text(item["name"], item["keywords"]) for item in items)
    group = np.array([item["group"] for item in items], np.int32)
    split = np.array([str(named(item["split"])) for item in items])
  except (ValueError, KeyError, TypeError) as error:
    raise UserError(
      f"'{path}' is not as expected: {error!r}.", _WHAT
    ) from error
  if tuple(meta.get("groups", ())) != GROUPS:
    raise UserError(
      f"The groups of '{path}' are {meta.get('groups')}.",
      f"They are {', '.join(GROUPS)}.",
    )
  images = _pictures(sheet, len(items))
  _files.readonly(images, group, split)
  return Emoji(images, texts, group, split)


def _text(name: str, keywords: list[str]) -> str:
  """A name and its keywords, of which the first repeats it in most."""
  said = [word.replace("_", " ") for word in keywords]
  return ", ".join([name, *(word for word in said if word != name)])


def _pictures(path: str, count: int) -> UInt8[np.ndarray, "N 64 64 3"]:
  from PIL import Image

  try:
    with Image.open(path) as image:
      sheet = np.asarray(image.convert("RGB"))
    tiles = sheet.reshape(-1, SIDE, 25, SIDE, 3).transpose(0, 2, 1, 3, 4)
  except (OSError, ValueError) as error:
    raise UserError(f"'{path}' cannot be read: {error}.", _WHAT) from error
  tiles = tiles.reshape(-1, SIDE, SIDE, 3)
  if len(tiles) < count:
    raise UserError(f"'{path}' has {len(tiles)} pictures of {count}.", _WHAT)
  return tiles[:count].copy()


def _smaller(images: UInt8[np.ndarray, "N S S 3"], factor: int) -> np.ndarray:
  """Means of squares of pixels, rounded."""
  if factor == 1:
    return images
  count, side = len(images), images.shape[1] // factor
  squares = images.reshape(count, side, factor, side, factor, 3)
  means = squares.mean(axis=(2, 4), dtype=np.float32)
  return np.rint(means).astype(np.uint8)
