"""Statistics of a series: one vector in place of its steps."""

import jax.numpy as jnp
from jaxtyping import Bool, Float, Key

from kdjax.errors import UserError, same_shape
from kdjax.transforms._arrays import series
from kdjax.types import Array


def statistics(
  key: Key[Array, ""],
  x: Float[Array, "T F"],
  mask: Bool[Array, "T"] | None = None,
  *,
  frequencies: int = 8,
) -> Float[Array, "D"] | tuple[Float[Array, "D"], Bool[Array, "D"]]:
  """Moments, extremes, trend and spectrum of each channel, side by side.

  Of each channel: mean, standard deviation, minimum, maximum, the mean of the
  second half of the steps less that of the first, and |sum_t x_t
  e^(-2 pi i f t / T)| / sqrt(T) of the frequencies f = 1 .. `frequencies`, in
  units of rate / T. First the means of all channels, then their deviations, and
  so on: D = F (5 + frequencies).

  Means and spectra of windows as features of activities: Bao and Intille,
  "Activity recognition from user-annotated acceleration data", Pervasive 2004.

  Args:
    key: not used.
    x: a series.
    mask: which steps are not padding; the others count in no statistic and are
      0 in the spectrum. A series without any step is 0.
    frequencies: number of frequencies; at most T / 2.

  Returns:
    The vector; with `mask` also that of its numbers, False without any step.

  Raises:
    ShapeError: x is not a series, or the mask has another length.
    UserError: x holds integers, or is too short for the frequencies.
  """
  del key
  x = series(x, "statistics")
  steps = len(x)
  if not 0 <= 2 * frequencies <= steps:
    raise UserError(
      f"The transform 'statistics' has frequencies={frequencies}, and a series"
      f" of {steps} steps.",
      f"Expected 0 to {steps // 2}.",
    )
  valid = jnp.ones(steps, bool) if mask is None else mask
  same_shape(x=x[:, 0], mask=valid)
  late = jnp.arange(steps) >= (jnp.sum(valid) + 1) // 2
  mean = _mean(x, valid)
  centred = jnp.where(valid[:, None], x - mean[None], 0.0)
  spectrum = jnp.fft.rfft(jnp.where(valid[:, None], x, 0.0), axis=0)
  spectrum = spectrum[1 : frequencies + 1]
  found = [
    mean,
    jnp.sqrt(_mean(centred**2, valid)),
    _extreme(x, valid, jnp.min, jnp.inf),
    _extreme(x, valid, jnp.max, -jnp.inf),
    _mean(x, valid & late) - _mean(x, valid & ~late),
    (jnp.abs(spectrum) / steps**0.5).reshape(-1),
  ]
  vector = jnp.concatenate(found)
  if mask is None:
    return vector
  return vector, jnp.full(vector.shape, jnp.any(mask))


def _mean(x: Float[Array, "T F"], valid: Bool[Array, "T"]) -> Array:
  """The mean over the valid steps, 0 if there are none."""
  total = jnp.sum(jnp.where(valid[:, None], x, 0.0), axis=0)
  return total / jnp.maximum(jnp.sum(valid), 1)


def _extreme(x, valid, extreme, empty: float) -> Array:
  """The least or largest value of the valid steps, 0 if there are none."""
  found = extreme(jnp.where(valid[:, None], x, empty), axis=0)
  return jnp.where(jnp.any(valid), found, 0.0)
