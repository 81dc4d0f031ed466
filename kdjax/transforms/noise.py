"""Gaussian noise in an image, a waveform or a spectrogram."""

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
  """White noise whose power is a part of the example's own.

    x + n,  n ~ N(0, P 10^(-snr / 10)),  P = the mean of x^2

  P counts a constant part too: that of an image before normalize is mostly its
  brightness. Where x is all zero nothing is added. The result is not clipped.
  A corruption of Hendrycks and Dietterich, ICLR 2019, arXiv:1903.12261, in the
  unit of Hirsch and Pearce (Aurora), 2000.

  Args:
    key: draws the noise.
    x: floats of any shape.
    mask: which places of the first axis are no padding; the others count not in
      P and stay as they are.
    snr: the ratio of signal to noise in decibels: 0 is as much noise as signal,
      20 a hundredth of its power.
    deviation: of the noise, the same for all examples whatever their power; it
      takes the place of `snr`.

  Returns:
    The noisy example, and the mask where one is given.

  Raises:
    ShapeError: the mask does not fit the first axis.
    UserError: x holds no floats.
  """
  x = floats(x, "noise")
  real = jnp.ones((1,) * x.ndim, bool)
  if mask is not None:
    if mask.shape != x.shape[:1]:
      raise ShapeError(
        f"'noise' of {[*x.shape]} with a mask of {[*mask.shape]}.",
        "The mask has the length of the first axis.",
      )
    real = mask.reshape(mask.shape + (1,) * (x.ndim - 1))
  counted = jnp.broadcast_to(real, x.shape)
  total = jnp.sum(x**2, where=counted)
  power = total / jnp.maximum(jnp.sum(counted), 1)
  if deviation is None:
    deviation = jnp.sqrt(power * 10.0 ** (-snr / 10.0))
  noisy = jnp.where(real, x + deviation * jax.random.normal(key, x.shape), x)
  return noisy if mask is None else (noisy, mask)
