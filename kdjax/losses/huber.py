"""Difference of numbers, squared where it is small."""

import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import ShapeError, UserError
from kdjax.numerics import magnitude
from kdjax.types import Array


def huber(
  student: Float[Array, "B *shape"],
  target: Float[Array, "B *shape_target"],
  *,
  delta: float = 1.0,
  reduction: str = "mean",
) -> Float[Array, "B"]:
  """Matches what is predicted with a target that may have outliers.

    loss_i = 1/N sum_n h(student_in - target_in)    "mean"
    loss_i =     sum_n h(student_in - target_in)    "sum"
    h(r) = 1/2 r^2  where |r| <= d,  d (|r| - d / 2)  elsewhere

  with n over all N numbers of an example and d the delta.

  Huber, "Robust Estimation of a Location Parameter", Annals of Mathematical
  Statistics 35(1), 1964.
  Differs from the authors' code: there is none. torch's `HuberLoss` is the
  same; its `SmoothL1Loss` is this divided by d.

  Args:
    student: what is predicted.
    target: what should be, of the same shape; [B] goes with [B 1] too.
    delta: the difference up to which it is squared.
    reduction: over all axes but the batch, "mean" or "sum".
  """
  if reduction not in ("mean", "sum"):
    raise UserError(f"No reduction '{reduction}'.", exists=("mean", "sum"))
  if student.shape not in (target.shape, (*target.shape, 1)):
    raise ShapeError(
      f"The student is {list(student.shape)}, the target {list(target.shape)}.",
      "The target must be the same, or lack a last axis of 1.",
    )
  target = target.reshape(student.shape).astype(jnp.float32)
  gap = magnitude(student.astype(jnp.float32) - target)
  small = jnp.minimum(gap, delta)
  loss = 0.5 * small**2 + delta * (gap - small)
  reduce = jnp.mean if reduction == "mean" else jnp.sum
  return reduce(loss, axis=tuple(range(1, student.ndim)))
