"""The spectrogram of each channel of a series."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Key

from kdjax.errors import UserError, same_shape
from kdjax.transforms._arrays import series
from kdjax.types import Array


def series_spectrogram(
  key: Key[Array, ""],
  x: Float[Array, "T F"],
  mask: Bool[Array, "T"] | None = None,
  *,
  window: int = 32,
  hop: int = 8,
  floor: float = 1e-3,
  last_axis: bool = False,
) -> Float[Array, "t f *F"] | tuple[Float[Array, "t f *F"], Bool[Array, "t"]]:
  """The log magnitude of the short-time Fourier transform of each channel.

    log max(floor, |sum_n hann_n x_(t hop + n - window / 2) e^(-2 pi i f n /
      window)| / sum_n hann_n)

  for 1 + T // hop frames and 1 + window // 2 frequencies, f rate / window Hz at
  a rate in Hz. Frame t is centred on step t hop; the series is 0 before its
  begin and after its end. A sine of amplitude a has the magnitude a / 2.
  Equals `scipy.signal.stft(x, nperseg=window, noverlap=window - hop,
  padded=False)`, in absolute value and before the logarithm.

  Args:
    key: not used.
    x: a series.
    mask: which steps are not padding, which is 0. A frame has the mask of the
      step at its centre.
    window: length of a frame in steps, even.
    hop: steps from one frame to the next.
    floor: the smallest magnitude, in the unit of x.
    last_axis: whether channels are the last axis, [T' F' F], as of an image;
      otherwise their frequencies are side by side, [T' F F'], the first
      channel's first.

  Returns:
    The spectrogram; with `mask` also the mask of its frames.

  Raises:
    ShapeError: x is not a series, or the mask has another length.
    UserError: x holds integers, or window and hop do not fit.
  """
  del key
  x = series(x, "series_spectrogram")
  if window < 2 or window % 2 or not 1 <= hop <= window:
    raise UserError(
      f"The transform 'series_spectrogram' has window={window} and hop={hop}.",
      "Expected an even window and a hop from 1 to `window`.",
    )
  if mask is not None:
    same_shape(x=x[:, 0], mask=mask)
    x = jnp.where(mask[:, None], x, 0)
  starts = np.arange(0, len(x) + 1, hop)
  hann = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(window) / window)
  padded = jnp.pad(x, ((window // 2, window // 2), (0, 0)))
  frames = padded[starts[:, None] + np.arange(window)[None]]  # [t window F]
  weights = (hann / hann.sum()).astype(np.float32)
  spectrum = jnp.fft.rfft(frames * weights[None, :, None], axis=1)
  magnitude = jnp.sqrt(spectrum.real**2 + spectrum.imag**2)
  values = jnp.log(jnp.maximum(magnitude, floor))
  if not last_axis:
    values = jnp.moveaxis(values, 2, 1).reshape(len(starts), -1)
  if mask is None:
    return values
  return values, mask[np.minimum(starts, len(x) - 1)]
