"""ESC-10: one clip of each class and fold, at 8 kHz."""

import io
import pathlib
import re

import numpy as np

from kdjax.errors import UserError
from kdjax.prepare import _sources
from kdjax.preprocess import audio

SOURCE = ("https://github.com/karolpiczak/ESC-10/archive/553c8f17.zip",)
# The resampled values depend on the version of SciPy and libvorbis.
DIGEST = ""

RATE, SECONDS = 8000, 5.0

_FOLDER = re.compile(r"(\d{3}) - (.+)")
_FOLD = re.compile(r"([1-5])-.+\.(ogg|wav)")


def prepare(source: pathlib.Path, out: pathlib.Path) -> list[np.ndarray]:
  """Writes esc10_noise/noise50_8k.npz from "001 - Dog bark/1-100032-A.ogg".

  Raises:
    UserError: there is no clip, or one cannot be read.
  """
  first: dict[tuple[int, int], pathlib.Path] = {}
  classes = {}
  for path in _sources.files(source, "*.*"):
    folder, name = (
      _FOLDER.fullmatch(path.parent.name),
      _FOLD.fullmatch(path.name),
    )
    if folder and name:
      label = int(folder[1]) - 1
      classes[label] = folder[2]
      # The first by name of each class and fold: files are sorted.
      first.setdefault((int(name[1]), label), path)
  if not first:
    raise UserError(
      f"'{source}' has no clip.",
      "Expected names such as '001 - Dog bark/1-100032-A.ogg'.",
    )
  waves = []
  keys = sorted(first)
  for key in keys:
    try:
      wave = audio.decode(first[key], RATE, SECONDS)
    except ValueError as error:
      raise UserError(f"'{first[key]}' is {error}.") from error
    waves.append(np.clip(np.rint(wave * 32768), -32768, 32767))
  named = [f"{first[key].parent.name}/{first[key].name}" for key in keys]
  arrays = {
    "waveform": np.array(waves, np.int16),
    "label": np.array([label for _, label in keys], np.uint8),
    "fold": np.array([fold for fold, _ in keys], np.uint8),
    "filename": np.array(named),
    "class_names": np.array([classes[label] for label in sorted(classes)]),
    "sample_rate": np.int32(RATE),
  }
  file = io.BytesIO()
  np.savez_compressed(file, **arrays)
  _sources.write(out / "esc10_noise/noise50_8k.npz", file.getvalue())
  return [arrays["waveform"], arrays["label"], arrays["fold"]]
