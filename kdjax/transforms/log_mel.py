"""The log-mel spectrogram of a waveform."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Key

from kdjax.errors import UserError, same_shape
from kdjax.transforms._arrays import floats, waveform
from kdjax.types import Array

_SCALES = ("htk", "slaney")

# The smallest power, with the logarithm -23.03.
_FLOOR = 1e-10

# Slaney's scale is linear up to this point (Hz, mel) and logarithmic above,
# with 27 steps for a factor of 6.4.
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
  """The log power in each mel band, for T = 1 + N // hop frames.

    log max(1e-10, sum_f filter_mf |DFT(hann * frame_t)_f|^2)

  Frame t is centred on sample t hop; the waveform is mirrored at its ends.
  Davis and Mermelstein, "Comparison of Parametric Representations for
  Monosyllabic Word Recognition", IEEE TASSP 1980; the scales as in the HTK Book
  (2006), 2595 log10(1 + f / 700), and Slaney, "Auditory Toolbox", 1998.
  Equals `transformers.audio_utils.spectrogram` within 1e-4. This function
  computes in float32, that one in float64: bands 60 dB below the loudest of
  their frame may differ by more, for example next to a loud pure tone.

  Args:
    key: not used.
    x: a float waveform.
    mask: which samples are not padding. A frame has the mask of the sample at
      its centre.
    sample_rate: of x, in Hz.
    window: length of a frame in samples.
    hop: samples from one frame to the next.
    fft: length of the DFT; frames are padded with zeros. None is `window`.
    mels: the number of bands, F.
    f_min: lower edge of the first band, in Hz.
    f_max: upper edge of the last band, in Hz; None is half the sample rate.
    scale: the mel scale of equally wide bands, "htk" or "slaney".
    area: divides a band by half its width in Hz (as Slaney, librosa and
      Whisper do); otherwise its peak is 1.

  Returns:
    The spectrogram; with `mask` also the mask of its frames.

  Raises:
    ShapeError: x is not a waveform, or the mask has another shape.
    UserError: x holds integers, the scale is unknown, or options do not fit
      together.
  """
  del key
  x = floats(waveform(x, "log_mel"), "log_mel")
  fft = window if fft is None else fft
  f_max = sample_rate / 2 if f_max is None else f_max
  _check(sample_rate, window, fft, f_min, f_max, scale)
  starts = np.arange(0, len(x) + 1, hop)
  half = window // 2
  samples = starts[:, None] + np.arange(window)[None]
  padded = jnp.pad(x, (half, half), mode="reflect")
  # With an odd window, a last frame centred on the end would lack a sample.
  samples = samples[samples[:, -1] < len(padded)]
  hann = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(window) / window)
  spectrum = jnp.fft.rfft(
    padded[samples] * hann.astype(np.float32)[None], n=fft, axis=-1
  )
  power = spectrum.real**2 + spectrum.imag**2
  filters = _filters(sample_rate, fft, mels, f_min, f_max, scale, area)
  bands = jnp.matmul(power, filters.astype(np.float32), precision="highest")
  bands = jnp.log(jnp.maximum(bands, _FLOOR))
  if mask is None:
    return bands
  same_shape(x=x, mask=mask)
  return bands, mask[np.minimum(starts[: len(samples)], len(x) - 1)]


def _check(sample_rate, window, fft, f_min, f_max, scale):
  if scale not in _SCALES:
    raise UserError(
      f"The transform 'log_mel' has no scale '{scale}'.",
      exists=_SCALES,
      near=scale,
    )
  if fft < window:
    raise UserError(
      f"The transform 'log_mel' has window={window} and fft={fft}.",
      "Expected fft >= window.",
    )
  if not 0 <= f_min < f_max <= sample_rate / 2:
    raise UserError(
      f"The transform 'log_mel' has f_min={f_min} and f_max={f_max:g} at"
      f" sample_rate={sample_rate}.",
      f"Expected 0 <= f_min < f_max <= {sample_rate / 2:g}.",
    )


def _filters(sample_rate, fft, mels, f_min, f_max, scale, area):
  """float64 [fft // 2 + 1, mels]: a triangular filter for each band."""
  limits = _to_mel(np.array([f_min, f_max], float), scale)
  edges = _to_hz(np.linspace(*limits, mels + 2), scale)
  # The lower edge, peak and upper edge of a band are consecutive.
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
