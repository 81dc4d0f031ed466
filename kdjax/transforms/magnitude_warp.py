"""Random smooth changes of a series' magnitude."""

from jaxtyping import Float, Key

from kdjax.transforms._arrays import series
from kdjax.transforms._curves import curves
from kdjax.types import Array


def magnitude_warp(
  key: Key[Array, ""],
  x: Float[Array, "T F"],
  *,
  strength: float = 0.2,
  knots: int = 4,
  separate: bool = True,
) -> Float[Array, "T F"]:
  """Multiplies by a smooth curve about 1.

  The curve is a cubic spline through points of N(1, strength^2), evenly spaced
  from the first step to the last. Um et al., "Data augmentation of wearable
  sensor data for Parkinson's disease monitoring using convolutional neural
  networks", ICMI 2017, arXiv:1706.00527; Iwana and Uchida, "An empirical survey
  of data augmentation for time series classification with neural networks",
  PLoS ONE 2021, arXiv:2007.15951. Padding of zeros stays 0.

  Args:
    key: draws the points.
    x: a series.
    strength: standard deviation of the points; 0 changes nothing.
    knots: points between the first step and the last, where two more are.
    separate: whether each channel has its own curve; otherwise all have one.

  Raises:
    ShapeError: x is not a series.
    UserError: x holds integers, or `knots` is negative.
  """
  x = series(x, "magnitude_warp")
  count = x.shape[1] if separate else 1
  curve = curves(key, len(x), count, knots, strength, "magnitude_warp")
  return x * (1.0 + curve)
