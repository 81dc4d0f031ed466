"""Emoji: images of Noto Emoji with Unicode's names and emojilib's keywords."""

import gzip
import hashlib
import json
import pathlib

import numpy as np

from kdjax.errors import UserError
from kdjax.prepare import _sheets, _sources

SOURCE = (
  "https://github.com/googlefonts/noto-emoji/archive/b3e3051a.zip",
  "https://github.com/muan/unicode-emoji-json/archive/main.zip",
  "https://github.com/muan/emojilib/archive/main.zip",
)
# Names and keywords of emoji change with time.
DIGEST = ""

SIDE = 64

# The first byte of a name's SHA-1: below the first is test, the second val.
_TEST, _VALIDATION = 26, 51


def prepare(source: pathlib.Path, out: pathlib.Path) -> list[np.ndarray]:
  """Writes emoji/sheet.webp and meta.json.gz.

  From png/128/emoji_u*.png, data-by-emoji.json of unicode-emoji-json, and
  emoji-en-US.json of emojilib. An emoji without an image is left out.

  Raises:
    UserError: a file is missing, or no emoji has an image.
  """
  from PIL import Image

  known = _json(source, "data-by-emoji.json")
  keywords = _json(source, "emoji-en-US.json")
  pictures = {
    path.name: path
    for path in _sources.files(source, "emoji_u*.png")
    if path.parent.name == "128"
  }
  groups = sorted({it["group"] for it in known.values()})
  items, images = [], []
  for emoji, it in known.items():
    file = _file(emoji)
    if file not in pictures:
      continue
    with Image.open(pictures[file]) as image:
      upright = image.convert("RGBA")
    white = Image.new("RGBA", upright.size, "white")
    flat = Image.alpha_composite(white, upright).convert("RGB")
    images.append(
      np.asarray(flat.resize((SIDE, SIDE), Image.Resampling.LANCZOS))
    )
    byte = hashlib.sha1(it["name"].encode()).digest()[0]
    split = "test" if byte < _TEST else "val"
    items.append(
      {
        "i": len(items),
        "emoji": emoji,
        "name": it["name"],
        "keywords": keywords.get(emoji, []),
        "group": groups.index(it["group"]),
        "split": split if byte < _VALIDATION else "train",
        "file": file,
      }
    )
  if not items:
    raise UserError(
      f"'{source}' has no image of an emoji.",
      "Expected png/128/emoji_u1f600.png and so on.",
    )
  meta = {
    **{"cell": SIDE, "cols": _sheets.COLUMNS, "count": len(items)},
    **{"groups": groups, "items": items},
  }
  content = json.dumps(meta, ensure_ascii=False).encode()
  _sources.write(out / "emoji/sheet.webp", _sheets.sheet(images))
  packed = gzip.compress(content, mtime=0)
  _sources.write(out / "emoji/meta.json.gz", packed)
  return [np.stack(images)]


def _file(emoji: str) -> str:
  """The name of an emoji's image: its code points without the selector."""
  codes = [f"{ord(it):04x}" for it in emoji if it != "\ufe0f"]
  return f"emoji_u{'_'.join(codes)}.png"


def _json(source: pathlib.Path, name: str) -> dict:
  path = _sources.find(source, name)
  try:
    return json.loads(path.read_text(encoding="utf-8"))
  except ValueError as error:
    raise UserError(f"'{path}' is not JSON: {error}.") from error
