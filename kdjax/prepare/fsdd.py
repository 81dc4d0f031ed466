"""The Free Spoken Digit Dataset: 3,000 WAV files as one array."""

import io
import pathlib
import re

import numpy as np

from kdjax.errors import UserError
from kdjax.prepare import _sources

SOURCE = (
  "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/"
  "26eb9aaf.zip",
)
DIGEST = "9c5260b8d19db1ab"

_NAME = re.compile(r"(\d)_([a-z]+)_(\d+)\.wav")
RATE = 8000

# Recordings 0 to 4 of a digit and speaker are the official test split.
_TEST = 5


def prepare(source: pathlib.Path, out: pathlib.Path) -> list[np.ndarray]:
  """Writes fsdd/fsdd.npz from recordings/{digit}_{speaker}_{number}.wav.

  Raises:
    UserError: there is no recording, or one has another format.
  """
  import soundfile

  found = []
  for path in _sources.files(source, "*.wav"):
    match = _NAME.fullmatch(path.name)
    if match:
      digit, speaker, number = match.groups()
      found.append((int(digit), speaker, int(number), path))
  if not found:
    raise UserError(
      f"'{source}' has no recording.", "Expected names such as 7_theo_12.wav."
    )
  found.sort()
  names = sorted({speaker for _, speaker, _, _ in found})
  waves = []
  for *_, path in found:
    wave, rate = soundfile.read(path, dtype="int16", always_2d=True)
    if rate != RATE or wave.shape[1] != 1:
      raise UserError(
        f"'{path}' has {rate} Hz and {wave.shape[1]} channels.",
        f"Expected {RATE} Hz and one channel.",
      )
    waves.append(wave[:, 0])
  number = np.array([it[2] for it in found], np.uint8)
  arrays = {
    "waveform": np.concatenate(waves),
    "offsets": np.cumsum([0, *map(len, waves)]).astype(np.int64),
    "label": np.array([it[0] for it in found], np.uint8),
    "speaker": np.array([names.index(it[1]) for it in found], np.uint8),
    "index": number,
    "is_test": number < _TEST,
    "speaker_names": np.array(names),
    "sample_rate": np.int32(RATE),
    "filename": np.array([it[3].name for it in found]),
  }
  file = io.BytesIO()
  np.savez_compressed(file, **arrays)
  _sources.write(out / "fsdd/fsdd.npz", file.getvalue())
  return [arrays["waveform"], arrays["label"], arrays["speaker"]]
