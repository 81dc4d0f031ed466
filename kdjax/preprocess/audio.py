"""Audio files as waveforms: one channel, one sample rate, one length."""

import math
import os
from typing import BinaryIO

import numpy as np
from jaxtyping import Float32

from kdjax.errors import UserError

# Highest sample rate of a file, in Hz: a damaged header can claim any.
_MOST_RATE = 1_000_000

# Reach of SciPy's resampling filter to each side, in samples of the lower rate.
# As much is read after the samples that are kept.
_REACH = 10


def samples_of(sample_rate: int, seconds: float) -> int:
  """Number of samples of a waveform.

  Raises:
    UserError: the rate or the length gives no sample.
  """
  count = round(sample_rate * seconds)
  if sample_rate < 1 or count < 1:
    raise UserError(
      f"sample_rate={sample_rate} and seconds={seconds} give no waveform.",
      "Expected one sample or more.",
    )
  return count


def decode(
  file: str | os.PathLike | BinaryIO, sample_rate: int, seconds: float
) -> Float32[np.ndarray, "N"]:
  """A waveform from -1 to 1: channels averaged, resampled, cut or padded.

  Args:
    file: in any format that libsndfile reads: WAV, FLAC, OGG, MP3, ...
    sample_rate: in Hz; other rates are resampled (polyphase, anti-aliased).
    seconds: a longer waveform is cut, a shorter one padded with zeros.

  Raises:
    ValueError: the file has no readable audio; the message has the reason.
  """
  import soundfile

  length = samples_of(sample_rate, seconds)
  try:
    with soundfile.SoundFile(file) as sound:
      rate = sound.samplerate
      if not 1 <= rate <= _MOST_RATE:
        raise ValueError(
          f"a sample rate of {rate} Hz, above the limit of {_MOST_RATE}"
        )
      # Samples after those that are kept are not read.
      frames = math.ceil(length * rate / sample_rate)
      reach = _REACH * math.ceil(max(1, rate / sample_rate)) + 1
      wave = sound.read(frames + reach, dtype="float32", always_2d=True)
  except soundfile.LibsndfileError as error:
    raise ValueError(
      f"no audio that can be read: {error.error_string}"
    ) from None
  except ValueError:
    raise
  except Exception as error:
    # soundfile raises TypeError for a format without a header, such as .raw.
    raise ValueError(f"no audio that can be read: {error}") from error
  if not len(wave):
    raise ValueError("audio without a sample")
  if not np.isfinite(wave).all():
    raise ValueError("audio with a sample that is not finite")
  return fitted(resampled(wave.mean(axis=1), rate, sample_rate), length)


def resampled(
  wave: Float32[np.ndarray, "N"], rate: int, sample_rate: int
) -> Float32[np.ndarray, "M"]:
  """A waveform resampled from `rate` Hz: M = ceil(N sample_rate / rate)."""
  if rate == sample_rate:
    return wave
  from scipy import signal

  shared = math.gcd(rate, sample_rate)
  up, down = sample_rate // shared, rate // shared
  return signal.resample_poly(wave, up, down).astype(np.float32)


def fitted(wave: np.ndarray, length: int) -> np.ndarray:
  """The first `length` samples, padded with zeros."""
  wave = wave[:length]
  return np.pad(wave, (0, length - len(wave)))
