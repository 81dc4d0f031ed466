"""A random factor for each channel of a series."""

import jax
from jaxtyping import Float, Key

from kdjax.transforms._arrays import series
from kdjax.types import Array


def scaling(
  key: Key[Array, ""],
  x: Float[Array, "T F"],
  *,
  deviation: float = 0.1,
  separate: bool = True,
) -> Float[Array, "T F"]:
  """Multiplies by a factor of N(1, deviation^2) that is constant over time.

  Um et al., "Data augmentation of wearable sensor data for Parkinson's disease
  monitoring using convolutional neural networks", ICMI 2017, arXiv:1706.00527;
  Iwana and Uchida, "An empirical survey of data augmentation for time series
  classification with neural networks", PLoS ONE 2021, arXiv:2007.15951.
  Padding of zeros stays 0.

  Args:
    key: draws the factors.
    x: a series.
    deviation: standard deviation of a factor.
    separate: whether each channel has its own factor; otherwise all have one.

  Raises:
    ShapeError: x is not a series.
    UserError: x holds integers.
  """
  x = series(x, "scaling")
  count = x.shape[1] if separate else 1
  return x * (1.0 + deviation * jax.random.normal(key, (1, count)))
