"""Gaussian noise added to every number of a series."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Key

from kdjax.errors import same_shape
from kdjax.transforms._arrays import series
from kdjax.types import Array


def jitter(
  key: Key[Array, ""],
  x: Float[Array, "T F"],
  mask: Bool[Array, "T"] | None = None,
  *,
  deviation: float = 0.05,
  relative: bool = False,
) -> Float[Array, "T F"] | tuple[Float[Array, "T F"], Bool[Array, "T"]]:
  """Adds independent noise to every step and channel: x + N(0, deviation^2).

  Um et al., "Data augmentation of wearable sensor data for Parkinson's disease
  monitoring using convolutional neural networks", ICMI 2017, arXiv:1706.00527;
  Iwana and Uchida, "An empirical survey of data augmentation for time series
  classification with neural networks", PLoS ONE 2021, arXiv:2007.15951. The
  transform `noise` has a signal-to-noise ratio over all channels instead.

  Args:
    key: draws the noise.
    x: a series.
    mask: which steps are not padding; padding does not change.
    deviation: standard deviation of the noise, in the unit of x.
    relative: whether `deviation` is a share of each channel's own standard
      deviation over the valid steps, for channels of several units.

  Returns:
    The noisy series; with `mask` also the mask.

  Raises:
    ShapeError: x is not a series, or the mask has another length.
    UserError: x holds integers.
  """
  x = series(x, "jitter")
  valid = jnp.ones(x.shape[:1], bool) if mask is None else mask
  same_shape(x=x[:, 0], mask=valid)
  valid = valid[:, None]
  if relative:
    count = jnp.maximum(jnp.sum(valid), 1)
    mean = jnp.sum(x, 0, where=valid, keepdims=True) / count
    square = jnp.sum((x - mean) ** 2, 0, where=valid, keepdims=True) / count
    deviation = deviation * jnp.sqrt(square)
  noisy = x + deviation * jax.random.normal(key, x.shape)
  noisy = jnp.where(valid, noisy, x)
  return noisy if mask is None else (noisy, mask)
