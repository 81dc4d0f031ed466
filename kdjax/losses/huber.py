"""Huber loss for regression."""

import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import ShapeError, UserError
from kdjax.numerics import safe_abs
from kdjax.types import Array


def huber(
  student: Float[Array, "B *shape"],
  target: Float[Array, "B *shape_target"],
  *,
  delta: float = 1.0,
  reduction: str = "mean",
) -> Float[Array, "B"]:
  """Matches a prediction with a target that may have outliers.

    loss_i = 1/N sum_n h(student_in - target_in)    "mean"
    loss_i =     sum_n h(student_in - target_in)    "sum"
    h(r) = 1/2 r^2  where |r| <= d,  d (|r| - d / 2)  elsewhere

  with n over all N values of an example and d the delta.

  Huber, "Robust Estimation of a Location Parameter", Annals of Mathematical
  Statistics 35(1), 1964.
  Differs from the authors' code: there is none. torch's `HuberLoss` is the
  same; its `SmoothL1Loss` is this divided by d.

  Args:
    student: predictions.
    target: targets of the same shape, or [B] for predictions [B 1].
    delta: the difference up to which the loss is quadratic.
    reduction: over all axes but the batch, "mean" or "sum".
  """
  if reduction not in ("mean", "sum"):
    raise UserError(f"No reduction '{reduction}'.", exists=("mean", "sum"))
  if student.shape not in (target.shape, (*target.shape, 1)):
    raise ShapeError(
      f"The student is {list(student.shape)}, the target {list(target.shape)}.",
      "Expected equal shapes, or a target [B] for a student [B, 1].",
    )
  target = target.reshape(student.shape).astype(jnp.float32)
  gap = safe_abs(student.astype(jnp.float32) - target)
  small = jnp.minimum(gap, delta)
  loss = 0.5 * small**2 + delta * (gap - small)
  reduce = jnp.mean if reduction == "mean" else jnp.sum
  return reduce(loss, axis=tuple(range(1, student.ndim)))
