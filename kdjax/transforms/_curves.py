"""Random smooth curves over time, and series read between their steps."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int, Key
from scipy import interpolate

from kdjax.errors import UserError, same_shape
from kdjax.types import Array


def curves(
  key: Key[Array, ""],
  steps: int,
  count: int,
  knots: int,
  strength: float | Float[Array, ""],
  name: str,
) -> Float[Array, "T _"]:
  """Cubic splines through points of N(0, strength^2), evenly spaced in time.

  Args:
    key: draws the points.
    steps: T.
    count: number of curves.
    knots: points between the first step and the last, where two more are.
    strength: standard deviation of the points.
    name: the transform, for errors.

  Raises:
    UserError: there is a negative number of knots.
  """
  if knots < 0:
    raise UserError(
      f"The transform '{name}' has knots={knots}.", "Expected 0 or more."
    )
  places = np.linspace(0.0, 1.0, knots + 2)
  spline = interpolate.CubicSpline(places, np.eye(knots + 2))
  # The value at a step is a weighted sum of the points.
  weights = spline(np.linspace(0.0, 1.0, steps)).astype(np.float32)
  points = strength * jax.random.normal(key, (knots + 2, count))
  return jnp.matmul(weights, points, precision="highest")


def limits(
  mask: Bool[Array, "T"],
) -> tuple[Int[Array, ""], Int[Array, ""]]:
  """The first and the last valid step; 0 and 0 without any."""
  first = jnp.argmax(mask)
  last = len(mask) - 1 - jnp.argmax(mask[::-1])
  return first, jnp.where(mask.any(), last, 0)


def resample(
  x: Float[Array, "T F"],
  mask: Bool[Array, "T"] | None,
  place: Float[Array, "T"],
) -> Float[Array, "T F"] | tuple[Float[Array, "T F"], Bool[Array, "T"]]:
  """The series at places between its steps, by linear interpolation.

  Args:
    x: a series.
    mask: which steps are not padding.
    place: for each new step its place, 0 to T - 1.

  Returns:
    The series; with `mask` also the new mask, which is False where a step
    between which it is interpolated is padding. There, x is 0.
  """
  before = jnp.clip(jnp.floor(place), 0, len(x) - 1).astype(int)
  after = jnp.minimum(before + 1, len(x) - 1)
  share = (place - before)[:, None]
  made = x[before] + share * (x[after] - x[before])
  if mask is None:
    return made
  same_shape(x=x[:, 0], mask=mask)
  valid = mask[before] & (mask[after] | (share[:, 0] == 0))
  return jnp.where(valid[:, None], made, 0), valid
