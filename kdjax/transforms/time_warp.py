"""Random smooth changes of a series' speed."""

import jax.numpy as jnp
from jaxtyping import Bool, Float, Key

from kdjax.errors import same_shape
from kdjax.transforms._arrays import series
from kdjax.transforms._curves import curves, limits, resample
from kdjax.types import Array


def time_warp(
  key: Key[Array, ""],
  x: Float[Array, "T F"],
  mask: Bool[Array, "T"] | None = None,
  *,
  strength: float = 0.2,
  knots: int = 4,
) -> Float[Array, "T F"] | tuple[Float[Array, "T F"], Bool[Array, "T"]]:
  """Reads the series at a speed that changes smoothly; its ends stay.

  The speed is exp(s(t)) with a cubic spline s through points of
  N(0, strength^2), scaled so that the last valid step is reached at the last.
  Um et al., "Data augmentation of wearable sensor data for Parkinson's disease
  monitoring using convolutional neural networks", ICMI 2017, arXiv:1706.00527;
  Iwana and Uchida, "An empirical survey of data augmentation for time series
  classification with neural networks", PLoS ONE 2021, arXiv:2007.15951. Differs
  from them: their speed is 1 + s(t), with which time may run backward.

  Args:
    key: draws the points.
    x: a series.
    mask: which steps are not padding; the warp is between the first and the
      last of them, and their number is the same unless padding is between them.
    strength: standard deviation of the speed's logarithm; 0 changes nothing.
    knots: points of the spline between the first and the last step.

  Returns:
    The warped series; with `mask` also its mask.

  Raises:
    ShapeError: x is not a series, or the mask has another length.
    UserError: x holds integers, or `knots` is negative.
  """
  x = series(x, "time_warp")
  valid = jnp.ones(x.shape[:1], bool) if mask is None else mask
  same_shape(x=x[:, 0], mask=valid)
  first, last = limits(valid)
  steps = jnp.arange(len(x))
  speed = jnp.exp(curves(key, len(x), 1, knots, strength, "time_warp")[:, 0])
  # From one valid step to the next; the deviation from the mean speed is 0 at
  # strength 0, so that the series is then exactly the same.
  moves = (steps > first) & (steps <= last)
  mean = jnp.mean(speed, where=moves | ~moves.any())
  ahead = jnp.cumsum(jnp.where(moves, speed / mean - 1, 0))
  inside = (steps >= first) & (steps <= last)
  place = jnp.clip(steps + ahead, first, last)
  place = jnp.where(steps == last, last, place)
  return resample(x, mask, jnp.where(inside, place, steps).astype(x.dtype))
