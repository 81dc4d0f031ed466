"""Mandarin characters: their table, glyphs and recordings."""

import csv
import dataclasses
import functools
import io

import numpy as np
from jaxtyping import Int, Int16, UInt8

from kdjax.data import _files
from kdjax.data._splits import named
from kdjax.errors import UserError

# Samples a second of the recordings.
RATE = 16000

# Pixels a side of a glyph.
SIDE = 64

# Classes of tones 1 to 4. The fifth, neutral, is of 15 characters alone.
TONES = ("level", "rising", "dipping", "falling")

# The commonest radicals of training, and what they mean.
RADICALS = {
  **{"扌": "hand", "口": "mouth", "氵": "water", "亻": "person"},
  **{"木": "tree", "土": "earth", "纟": "silk", "钅": "metal"},
  **{"讠": "speech", "辶": "walk", "艹": "grass", "刂": "knife"},
}

_WHAT = (
  "It combines the recordings of https://github.com/hugolpz/audio-cmn with the"
  " glyphs and the dictionary of https://github.com/skishore/makemeahanzi."
)

_COLUMNS = ("character", "tone", "radical", "gloss", "split")


@dataclasses.dataclass(frozen=True)
class Hanzi:
  """All characters, in the order of the table.

  Attributes:
    glyph: ink is 255, on 0.
    wave: all recordings, 16 kHz.
    offsets: recording i is wave[offsets[i] : offsets[i + 1]].
    character: one a row, as the next ones.
    gloss: what it means, in English.
    tone: 1 to 4, 5 is neutral.
    radical: the component under which dictionaries list it.
    split: "train", "validation" or "test"; a syllable is in one of them.
  """

  glyph: UInt8[np.ndarray, "N 64 64"]
  wave: Int16[np.ndarray, "S"]
  offsets: Int[np.ndarray, "N+1"]
  character: tuple[str, ...]
  gloss: tuple[str, ...]
  tone: Int[np.ndarray, "N"]
  radical: tuple[str, ...]
  split: np.ndarray

  def sounds(
    self, rows: Int[np.ndarray, "B"], samples: int
  ) -> Int16[np.ndarray, "B T"]:
    """Recordings that are cut, or padded with zeros at the end."""
    values = np.zeros((len(rows), samples), np.int16)
    for value, row in zip(values, rows, strict=True):
      start, stop = self.offsets[row], self.offsets[row + 1]
      found = self.wave[start : min(stop, start + samples)]
      value[: len(found)] = found
    return values


@functools.cache
def hanzi(root: str) -> Hanzi:
  """All characters, from the files in root/hanzi.

  Raises:
    UserError: a file is missing, or files do not fit together.
  """
  find = lambda name: _files.find(root, f"hanzi/{name}", _WHAT)
  path = find("characters.tsv.gz")
  table = _table(path)
  glyph = _array(find("glyphs.npz"), "glyph")
  offsets = _array(find("offsets.npz"), "offsets")
  wave = _wave(find("sounds.flac"))
  count = len(table["tone"])
  if (glyph.shape, glyph.dtype) != ((count, SIDE, SIDE), np.uint8) or (
    len(offsets) != count + 1 or offsets[-1] != len(wave)
  ):
    raise UserError(
      f"'{path}' has {count} characters; beside it are {len(glyph)} glyphs,"
      f" {len(offsets) - 1} recordings of {max(offsets, default=0)} samples,"
      f" and {len(wave)} samples.",
      _WHAT,
    )
  try:
    tone = np.array([int(it) for it in table["tone"]], np.int32)
  except ValueError as error:
    raise UserError(f"'{path}' has a tone that is none: {error}.") from None
  split = np.array([str(named(it)) for it in table["split"]])
  _files.readonly(glyph, offsets, wave, tone, split)
  words = (tuple(table[key]) for key in ("character", "gloss", "radical"))
  character, gloss, radical = words
  return Hanzi(glyph, wave, offsets, character, gloss, tone, radical, split)


def labels(whole: Hanzi, task: str) -> Int[np.ndarray, "N"]:
  """The class of each character; -1 of those that the task leaves out.

  Args:
    whole: all characters.
    task: "tone" or "radical".
  """
  if task == "tone":
    tones = whole.tone - 1
    return np.where(tones < len(TONES), tones, -1).astype(np.int32)
  number = {radical: place for place, radical in enumerate(RADICALS)}
  return np.array([number.get(it, -1) for it in whole.radical], np.int32)


def _table(path: str) -> dict[str, list[str]]:
  """column -> its cells."""
  text = io.StringIO(_files.gunzip(path).decode("utf-8"), newline="")
  rows = [*csv.DictReader(text, delimiter="\t", quoting=csv.QUOTE_NONE)]
  missing = [name for name in _COLUMNS if not rows or rows[0].get(name) is None]
  if missing:
    raise UserError(f"'{path}' has no column {', '.join(missing)}.", _WHAT)
  return {name: [row[name] or "" for row in rows] for name in _COLUMNS}


def _array(path: str, name: str) -> np.ndarray:
  arrays = _files.npz(path)
  if name not in arrays:
    raise UserError(f"'{path}' has no array '{name}'.", exists=arrays)
  return arrays[name]


def _wave(path: str) -> Int16[np.ndarray, "S"]:
  import soundfile

  try:
    wave, rate = soundfile.read(path, dtype="int16", always_2d=True)
  except (soundfile.LibsndfileError, OSError) as error:
    raise UserError(f"'{path}' cannot be read: {error}.", _WHAT) from error
  if rate != RATE or wave.shape[1] != 1:
    raise UserError(
      f"'{path}' has {rate} Hz and {wave.shape[1]} channels.",
      f"Expected {RATE} Hz and one channel.",
    )
  return wave[:, 0].copy()
