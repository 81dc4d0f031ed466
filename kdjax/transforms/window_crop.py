"""A random window of a series, stretched to its length."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Key

from kdjax.errors import same_shape
from kdjax.transforms._arrays import series
from kdjax.transforms._curves import limits, resample
from kdjax.types import Array


def window_crop(
  key: Key[Array, ""],
  x: Float[Array, "T F"],
  mask: Bool[Array, "T"] | None = None,
  *,
  share: float = 0.9,
) -> Float[Array, "T F"] | tuple[Float[Array, "T F"], Bool[Array, "T"]]:
  """Cuts a window at a random place and stretches it by linear interpolation.

  Le Guennec et al., "Data augmentation for time series classification using
  convolutional neural networks", AALTD 2016 (window slicing), in the form of
  Iwana and Uchida, "An empirical survey of data augmentation for time series
  classification with neural networks", PLoS ONE 2021, arXiv:2007.15951: the
  window has the length of the series again. It begins anywhere, also between
  two steps.

  Args:
    key: draws the place.
    x: a series.
    mask: which steps are not padding; the window is between the first and the
      last of them, and their number is the same unless padding is between them.
    share: length of the window as a share of the series, 0 to 1; 1 changes
      nothing.

  Returns:
    The stretched window; with `mask` also its mask.

  Raises:
    ShapeError: x is not a series, or the mask has another length.
    UserError: x holds integers.
  """
  x = series(x, "window_crop")
  valid = jnp.ones(x.shape[:1], bool) if mask is None else mask
  same_shape(x=x[:, 0], mask=valid)
  first, last = limits(valid)
  steps = jnp.arange(len(x))
  start = first + jax.random.uniform(key) * (1 - share) * (last - first)
  place = jnp.clip(start + share * (steps - first), first, last)
  inside = (steps >= first) & (steps <= last)
  return resample(x, mask, jnp.where(inside, place, steps).astype(x.dtype))
