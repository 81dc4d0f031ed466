"""A waveform as the loudness of its pitches over time."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Key

from kdjax.errors import UserError, same_shape
from kdjax.transforms._arrays import floats, waveform
from kdjax.types import Array

_SCALES = ("htk", "slaney")

# Power that counts as silence: its logarithm is -23.03.
_FLOOR = 1e-10

# Slaney's scale: in proportion to the frequency up to here (Hz, mel), from here
# on to its logarithm, 27 steps for each factor of 6.4.
_BREAK_HZ, _BREAK_MEL = 1000.0, 15.0
_STEP = np.log(6.4) / 27.0


def log_mel(
  key: Key[Array, ""],
  x: Float[Array, "N"],
  mask: Bool[Array, "N"] | None = None,
  *,
  sample_rate: int = 16000,
  window: int = 400,
  hop: int = 160,
  fft: int | None = None,
  mels: int = 80,
  f_min: int = 0,
  f_max: int | None = None,
  scale: str = "htk",
  area: bool = False,
) -> Float[Array, "T F"] | tuple[Float[Array, "T F"], Bool[Array, "T"]]:
  """The logarithm of the power in each mel band, T = 1 + N // hop frames.

    log max(1e-10, sum_f filter_mf |DFT(hann * frame_t)_f|^2)

  Frame t is centred on sample t hop; the waveform is mirrored at its ends.
  Davis and Mermelstein, "Comparison of Parametric Representations for
  Monosyllabic Word Recognition", IEEE TASSP 1980; the scales as in the HTK Book
  (2006), 2595 log10(1 + f / 700), and Slaney, "Auditory Toolbox", 1998.
  Equals `transformers.audio_utils.spectrogram` within 1e-4. That computes in
  float64, this in float32: 60 dB below the loudest band of its frame, a band
  may differ by more, as beside a loud pure tone.

  Args:
    key: not used.
    x: a float waveform.
    mask: which samples are no padding. A frame is none where the sample in its
      centre is none.
    sample_rate: of x, in Hz.
    window: length of a frame in samples.
    hop: samples from one frame to the next.
    fft: length of the DFT, the frame followed by zeros; None is `window`.
    mels: how many bands, F.
    f_min: lower edge of the first band, in Hz.
    f_max: upper edge of the last, in Hz; None is half the sample rate.
    scale: on which the bands are equally wide, "htk" or "slaney".
    area: divides a band by half its width in Hz (Slaney's, as librosa and
      Whisper do); else its peak is 1.

  Returns:
    The spectrogram, and the mask of its frames where one of samples is given.

  Raises:
    ShapeError: x is no waveform, or the mask has another shape.
    UserError: x holds no floats, an unknown scale, or options that do not fit
      together.
  """
  del key
  x = floats(waveform(x, "log_mel"), "log_mel")
  fft = window if fft is None else fft
  f_max = sample_rate / 2 if f_max is None else f_max
  _check(sample_rate, window, fft, f_min, f_max, scale)
  starts = np.arange(0, len(x) + 1, hop)
  half = window // 2
  places = starts[:, None] + np.arange(window)[None]
  padded = jnp.pad(x, (half, half), mode="reflect")
  # An odd window leaves no sample for a last frame centred on the end.
  places = places[places[:, -1] < len(padded)]
  hann = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(window) / window)
  spectrum = jnp.fft.rfft(
    padded[places] * hann.astype(np.float32)[None], n=fft, axis=-1
  )
  power = spectrum.real**2 + spectrum.imag**2
  filters = _filters(sample_rate, fft, mels, f_min, f_max, scale, area)
  bands = jnp.matmul(power, filters.astype(np.float32), precision="highest")
  bands = jnp.log(jnp.maximum(bands, _FLOOR))
  if mask is None:
    return bands
  same_shape(x=x, mask=mask)
  return bands, mask[np.minimum(starts[: len(places)], len(x) - 1)]


def _check(sample_rate, window, fft, f_min, f_max, scale):
  if scale not in _SCALES:
    raise UserError(f"No scale '{scale}'.", exists=_SCALES, near=scale)
  if fft < window:
    raise UserError(f"A window of {window} in fft={fft}.", "It is no longer.")
  if not 0 <= f_min < f_max <= sample_rate / 2:
    raise UserError(
      f"Bands from {f_min} to {f_max} Hz at a sample rate of {sample_rate}.",
      f"They lie within 0 and {sample_rate / 2:g}.",
    )


def _filters(sample_rate, fft, mels, f_min, f_max, scale, area):
  """float64 [fft // 2 + 1, mels]: a triangle over its band, for each band."""
  limits = _to_mel(np.array([f_min, f_max], float), scale)
  edges = _to_hz(np.linspace(*limits, mels + 2), scale)
  # One band's lower edge, peak and upper edge are neighbours.
  low, peak, high = edges[None, :-2], edges[None, 1:-1], edges[None, 2:]
  bins = np.linspace(0, sample_rate / 2, fft // 2 + 1)[:, None]
  rise, fall = (bins - low) / (peak - low), (high - bins) / (high - peak)
  filters = np.maximum(0.0, np.minimum(rise, fall))
  return filters * 2.0 / (high - low) if area else filters


def _to_mel(hz, scale):
  if scale == "htk":
    return 2595.0 * np.log10(1.0 + hz / 700.0)
  above = _BREAK_MEL + np.log(np.maximum(hz, _BREAK_HZ) / _BREAK_HZ) / _STEP
  return np.where(hz < _BREAK_HZ, hz * _BREAK_MEL / _BREAK_HZ, above)


def _to_hz(mel, scale):
  if scale == "htk":
    return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
  above = _BREAK_HZ * np.exp(_STEP * (np.maximum(mel, _BREAK_MEL) - _BREAK_MEL))
  return np.where(mel < _BREAK_MEL, mel * _BREAK_HZ / _BREAK_MEL, above)
