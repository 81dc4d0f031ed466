"""Audio files as waveforms: one channel, one sample rate, one length."""

import math
import os
import re
from typing import BinaryIO

import numpy as np
from jaxtyping import Float32

from kdjax.errors import UserError
from kdjax.preprocess import content

# Endings of recordings; .m4a and .aac, which are not read, among them.
ENDINGS = frozenset(
  (
    *(".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff"),
    *(".au", ".caf", ".w64", ".rf64", ".m4a", ".aac"),
  )
)

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


# Formats of floats, which hold any value.
_FLOATS = ("FLOAT", "DOUBLE")

# What libsndfile's log says of WAV, AIFF, AU, W64 and RF64 that are cut.
_SIZES = re.compile(
  r"^\s*(?:data|SSND|Data Size|riff|Riff size) *: (\d+) \(should be (\d+)\)",
  re.MULTILINE,
)

# Of a header that a stream wrote before its end was known.
_UNKNOWN = (0, 0x7FFFFFFF, 0xFFFFFFFF, 0x7FFFF000, 0xFFFFF000)


def check(scale: float) -> None:
  """Raises `UserError` for an impossible scale."""
  if not 0 < scale < math.inf:
    raise UserError(f"scale={scale} is no scale.", "Expected above 0.")


def decode(
  file: str | os.PathLike | BinaryIO,
  sample_rate: int,
  seconds: float,
  scale: float = 1.0,
) -> Float32[np.ndarray, "N"]:
  """A waveform from -1 to 1: channels averaged, resampled, cut or padded.

  Args:
    file: in any format that libsndfile reads: WAV, FLAC, OGG, MP3, ...
    sample_rate: in Hz; other rates are resampled (polyphase, anti-aliased).
    seconds: a longer waveform is cut, a shorter one padded with zeros.
    scale: of the loudest sample of a file of floats, which becomes 1.

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
      claimed = min(frames + reach, sound.frames)
      wave = sound.read(frames + reach, dtype="float32", always_2d=True)
      floats, log = sound.subtype in _FLOATS, sound.extra_info
  except soundfile.LibsndfileError as error:
    hint = ""
    if content.is_mpeg4(file):
      hint = " M4A is not read; convert it to WAV or FLAC."
    raise ValueError(
      f"no audio that can be read: {error.error_string}{hint}"
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
  if len(wave) < claimed or _is_cut(log):
    raise ValueError("audio that ends before its header says")
  if floats:
    wave /= scale
    most = np.abs(wave).max()
    if most > 1:
      raise ValueError(
        f"audio with a sample of {most * scale:g}, outside of -{scale:g} to"
        f" {scale:g}; scale= states the largest, such as 32768"
      )
  return fitted(resampled(wave.mean(axis=1), rate, sample_rate), length)


def length_of(file: str | os.PathLike | BinaryIO) -> tuple[float, int]:
  """Seconds and sample rate of a recording, from its header.

  Raises:
    ValueError: it has no readable header.
  """
  import soundfile

  try:
    with soundfile.SoundFile(file) as sound:
      return sound.frames / sound.samplerate, sound.samplerate
  except Exception as error:  # as in `decode`
    raise ValueError(f"no audio that can be read: {error}") from error


def _is_cut(log: str) -> bool:
  """Whether libsndfile found fewer bytes of samples than a header claims."""
  sizes = [(int(claimed), int(there)) for claimed, there in _SIZES.findall(log)]
  return any(
    there < claimed and claimed not in _UNKNOWN for claimed, there in sizes
  )


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
