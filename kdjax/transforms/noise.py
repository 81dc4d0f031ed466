"""Gaussian noise added to an image, a waveform or a spectrogram."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Key

from kdjax.errors import ShapeError
from kdjax.transforms._arrays import floats
from kdjax.types import Array


def noise(
  key: Key[Array, ""],
  x: Float[Array, "*shape"],
  mask: Bool[Array, "T"] | None = None,
  *,
  snr: float = 20.0,
  deviation: float | None = None,
) -> Float[Array, "*shape"] | tuple[Float[Array, "*shape"], Bool[Array, "T"]]:
  """Adds white noise with a power relative to the example's power.

    x + n,  n ~ N(0, P 10^(-snr / 10)),  P = the mean of x^2

  P includes the mean of x: before normalize it is mostly the brightness of an
  image. An example of zeros gets no noise. The result is not clipped. A
  corruption of Hendrycks and Dietterich, ICLR 2019, arXiv:1903.12261, with the
  unit of Hirsch and Pearce (Aurora), 2000.

  Args:
    key: draws the noise.
    x: floats of any shape.
    mask: which positions of the first axis are not padding; padding does not
      count in P and does not change.
    snr: the signal-to-noise ratio in decibels: at 0 the noise has the power of
      the signal, at 20 a hundredth of it.
    deviation: the standard deviation of the noise, independent of the
      example's power; replaces `snr`.

  Returns:
    The noisy example; with `mask` also the mask.

  Raises:
    ShapeError: the mask does not fit the first axis.
    UserError: x holds integers.
  """
  x = floats(x, "noise")
  real = jnp.ones((1,) * x.ndim, bool)
  if mask is not None:
    if mask.shape != x.shape[:1]:
      raise ShapeError(
        f"The transform 'noise' got the shape {[*x.shape]} with a mask of"
        f" {[*mask.shape]}.",
        f"Expected a mask of [{x.shape[0] if x.shape else ''}].",
      )
    real = mask.reshape(mask.shape + (1,) * (x.ndim - 1))
  counted = jnp.broadcast_to(real, x.shape)
  total = jnp.sum(x**2, where=counted)
  power = total / jnp.maximum(jnp.sum(counted), 1)
  if deviation is None:
    deviation = jnp.sqrt(power * 10.0 ** (-snr / 10.0))
  noisy = jnp.where(real, x + deviation * jax.random.normal(key, x.shape), x)
  return noisy if mask is None else (noisy, mask)
