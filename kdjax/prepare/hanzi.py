"""Mandarin characters that have a recording, a glyph and an English gloss."""

import gzip
import hashlib
import io
import json
import math
import pathlib
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from kdjax.errors import UserError
from kdjax.prepare import _sources, _strokes

SOURCE = (
  "https://github.com/hugolpz/audio-cmn/archive/ff9ed3d0.zip",
  "https://github.com/skishore/makemeahanzi/archive/618dbab8.zip",
)
# Of the table alone: sounds depend on the decoder of MP3, glyphs on the edges
# of the strokes.
DIGEST = "9ff768a53e58e3a0"

ATTRIBUTION = """\
Recordings: Yue Tan (Shtooka, cmn-caen-tan), by way of
https://github.com/hugolpz/audio-cmn (Hugo Lopez, Nicolas Vion). Licence: CC
BY-SA; what carries these sounds keeps it. Changed: resampled to 16 kHz, joined.
Table: https://github.com/skishore/makemeahanzi, of Unihan and CJKlib. Licence:
LGPL-3 or later. Changed: selected, tabulated, split.
Glyphs: the same project, of Arphic PL KaitiM GB and Arphic PL UKai, Arphic
Technology. Licence: Arphic Public License. Changed: drawn as 64x64 grey.
The texts of these licences are in the sources.
"""

RATE, SIDE = 16000, 64

COLUMNS = (
  *("character", "pinyin", "syllable", "tone", "radical", "gloss", "split"),
)

# Combining marks of pinyin.
_TONES = {"\u0304": 1, "\u0301": 2, "\u030c": 3, "\u0300": 4}

# Of ten, by the hash of the syllable: the first two are test, one validation.
_SPLITS = {0: "test", 1: "test", 2: "validation"}

_NAME = re.compile(r"cmn-(.)\.mp3")


def prepare(source: pathlib.Path, out: pathlib.Path) -> list[np.ndarray]:
  """Writes hanzi/: characters.tsv.gz, glyphs.npz, sounds.flac, offsets.npz.

  From 96k/hsk/cmn-X.mp3 of audio-cmn, and dictionary.txt and
  svgs-still/19968-still.svg of makemeahanzi.

  Raises:
    UserError: no character has all of them, or a file cannot be read.
  """
  import soundfile

  words = _dictionary(_sources.find(source, "dictionary.txt"))
  drawings = {
    path.name.partition("-")[0]: path
    for path in _sources.files(source, "*-still.svg")
  }
  rows, glyphs, waves = [], [], []
  for character, path in _recordings(source):
    known = words.get(character)
    drawing = drawings.get(str(ord(character)))
    if known and known.get("definition") and drawing:
      rows.append(_row(character, known))
      glyphs.append(_glyph(drawing))
      waves.append(_wave(path))
  if not rows:
    raise UserError(
      f"'{source}' has no character with a recording, a glyph and a gloss.",
      "Expected 96k/hsk/cmn-X.mp3, svgs-still/19968-still.svg and"
      " dictionary.txt.",
    )
  folder = out / "hanzi"
  table = _text([COLUMNS, *rows])
  _sources.write(folder / "characters.tsv.gz", gzip.compress(table, mtime=0))
  _write_arrays(folder / "glyphs.npz", glyph=np.stack(glyphs))
  offsets = np.cumsum([0, *map(len, waves)])
  _write_arrays(folder / "offsets.npz", offsets=offsets, sample_rate=RATE)
  file = io.BytesIO()
  soundfile.write(
    file, np.concatenate(waves), RATE, format="FLAC", subtype="PCM_16"
  )
  _sources.write(folder / "sounds.flac", file.getvalue())
  return [np.frombuffer(table, np.uint8)]


def split_of(syllable: str) -> str:
  """The split of all characters of a syllable, by its hash."""
  number = int(hashlib.sha1(syllable.encode()).hexdigest(), 16)
  return _SPLITS.get(number % 10, "train")


def syllable_of(pinyin: str) -> tuple[str, int]:
  """A reading without its tone, and the tone: "mǎ" is "ma", 3; 5 is neutral."""
  letters = unicodedata.normalize("NFD", pinyin)
  tones = [_TONES[letter] for letter in letters if letter in _TONES]
  plain = "".join(letter for letter in letters if letter not in _TONES)
  return unicodedata.normalize("NFC", plain), (tones or [5])[0]


def _recordings(
  source: pathlib.Path,
) -> Iterator[tuple[str, pathlib.Path]]:
  """Characters and their recordings, in the order of code points."""
  found = {}
  for path in _sources.files(source, "cmn-?.mp3"):
    if path.parent.name == "hsk" and path.parent.parent.name == "96k":
      found[_NAME.fullmatch(path.name)[1]] = path
  return iter(sorted(found.items()))


def _dictionary(path: pathlib.Path) -> dict[str, dict[str, Any]]:
  """character -> its entry, a line of JSON each."""
  entries = {}
  with path.open(encoding="utf-8") as file:
    for number, line in enumerate(file, start=1):
      try:
        entry = json.loads(line)
        entries[entry["character"]] = entry
      except (ValueError, KeyError, TypeError) as error:
        raise UserError(
          f"'{path}', line {number}, is no character: {error!r}."
        ) from None
  return entries


def _row(character: str, known: Mapping[str, Any]) -> tuple[str, ...]:
  """A character's cells, in the order of COLUMNS."""
  readings = known.get("pinyin") or [""]
  syllable, tone = syllable_of(readings[0])
  gloss = " ".join(known["definition"].split())
  radical = known.get("radical", "")
  cells = (character, " ".join(readings), syllable, str(tone), radical, gloss)
  return (*cells, split_of(syllable))


def _text(rows: Sequence[Sequence[str]]) -> bytes:
  return "".join("\t".join(row) + "\n" for row in rows).encode()


def _glyph(path: pathlib.Path) -> np.ndarray:
  """Ink 255 on 0: uint8 [64 64]."""
  strokes = re.findall(r'<path\b[^>]*?\bd="([^"]+)"', path.read_text("utf-8"))
  try:
    return _strokes.drawn(strokes, SIDE)
  except ValueError as error:
    raise UserError(f"'{path}' has {error}.") from None


def _wave(path: pathlib.Path) -> np.ndarray:
  """A recording's samples, int16 at 16 kHz; channels are averaged."""
  import soundfile
  from scipy.signal import resample_poly

  try:
    wave, rate = soundfile.read(path, dtype="float64", always_2d=True)
  except soundfile.LibsndfileError as error:
    raise UserError(f"'{path}' cannot be read: {error.error_string}") from None
  common = math.gcd(RATE, rate)
  wave = resample_poly(wave.mean(axis=1), RATE // common, rate // common)
  return np.clip(np.round(wave * 32767), -32768, 32767).astype("<i2")


def _write_arrays(path: pathlib.Path, **arrays: Any) -> None:
  file = io.BytesIO()
  np.savez_compressed(file, **arrays)
  _sources.write(path, file.getvalue())
