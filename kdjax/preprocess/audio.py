"""Audio files as waveforms: one channel, one sample rate, one length."""

import math
import os
from typing import BinaryIO

import numpy as np
from jaxtyping import Float32

from kdjax.errors import UserError

# What SciPy's resampling filter reaches to each side, in samples of the lower
# rate; so much more is read than is kept.
_REACH = 10


def samples_of(sample_rate: int, seconds: float) -> int:
  """How many samples a waveform has.

  Raises:
    UserError: a rate or a length that cannot be.
  """
  count = round(sample_rate * seconds)
  if sample_rate < 1 or count < 1:
    raise UserError(
      f"sample_rate={sample_rate} and seconds={seconds}.",
      "A waveform has one sample or more.",
    )
  return count


def decode(
  file: str | os.PathLike | BinaryIO, sample_rate: int, seconds: float
) -> Float32[np.ndarray, "N"]:
  """A waveform from -1 to 1: channels averaged, resampled, cut or padded.

  Args:
    file: in any format that libsndfile reads: WAV, FLAC, OGG, MP3, ...
    sample_rate: in Hz; another one is resampled (polyphase, anti-aliased).
    seconds: the first ones are kept; a shorter one ends in zeros.

  Raises:
    ValueError: there is no such waveform in the file; it says why.
  """
  import soundfile

  length = samples_of(sample_rate, seconds)
  try:
    with soundfile.SoundFile(file) as sound:
      rate = sound.samplerate
      # Of an hour that is to give a second, no more is read.
      frames = math.ceil(length * rate / sample_rate)
      reach = _REACH * math.ceil(max(1, rate / sample_rate)) + 1
      wave = sound.read(frames + reach, dtype="float32", always_2d=True)
  except soundfile.LibsndfileError as error:
    raise ValueError(
      f"no audio that can be read: {error.error_string}"
    ) from None
  if not len(wave):
    raise ValueError("audio without a sample")
  if not np.isfinite(wave).all():
    raise ValueError("audio with a sample that is not finite")
  return fitted(resampled(wave.mean(axis=1), rate, sample_rate), length)


def resampled(
  wave: Float32[np.ndarray, "N"], rate: int, sample_rate: int
) -> Float32[np.ndarray, "M"]:
  """A waveform of `rate` Hz at `sample_rate`: M is N sample_rate / rate, up."""
  if rate == sample_rate:
    return wave
  from scipy import signal

  shared = math.gcd(rate, sample_rate)
  up, down = sample_rate // shared, rate // shared
  return signal.resample_poly(wave, up, down).astype(np.float32)


def fitted(wave: np.ndarray, length: int) -> np.ndarray:
  """The first `length` samples; zeros follow a shorter waveform."""
  wave = wave[:length]
  return np.pad(wave, (0, length - len(wave)))
