"""Several teachers, of which an example may lack some."""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.errors import ShapeError, UserError, same_shape
from kdjax.types import Array


def stacked(
  student: Float[Array, "B K"],
  teacher: Sequence[Float[Array, "B K"]],
  present: Bool[Array, "B N"] | None,
) -> Float[Array, "N B K"]:
  """The logits of all teachers in float32, 0 of those that are absent.

  Raises:
    ShapeError: a teacher's shape is not the student's, or `present` has
      another number of teachers.
  """
  for member in teacher:
    same_shape(student=student, teacher=member)
  logits = jnp.stack([member.astype(jnp.float32) for member in teacher])
  expected = (len(student), len(teacher))
  if present is not None and present.shape != expected:
    raise ShapeError(
      f"present is {list(present.shape)} for {len(teacher)} teachers.",
      f"Expected {list(expected)}, a column for each teacher.",
    )
  return of_present(logits, present, 0.0)


def of_present(
  x: Float[Array, "N B ..."], present: Bool[Array, "B N"] | None, other: float
) -> Float[Array, "N B ..."]:
  """Values of each teacher, another one where it is absent."""
  if present is None:
    return x
  there = present.T.reshape(x.shape[:2] + (1,) * (x.ndim - 2))
  return jnp.where(there, x, other)


def count_of(
  present: Bool[Array, "B N"] | None, teachers: int
) -> Float[Array, "_"]:
  """How many teachers each example has; [1] where all have all."""
  if present is None:
    return jnp.full(1, float(teachers))
  return jnp.sum(present, axis=1, dtype=jnp.float32)


def shares_of(
  weights: Sequence[float], present: Bool[Array, "B N"] | None, teachers: int
) -> Float[Array, "N _"]:
  """The weights of the teachers that an example has, divided by their sum.

  Without any teacher they are 0.

  Raises:
    UserError: a weight is not above 0, or there are more or fewer than
      teachers.
  """
  if len(weights) != teachers or min(weights) <= 0:
    raise UserError(
      f"The weights of {teachers} teachers are {tuple(weights)}.",
      "Expected a number above 0 for each teacher.",
    )
  columns = jnp.array(weights, jnp.float32)[:, None]
  if present is not None:
    columns = jnp.where(present.T, columns, 0.0)
  total = jnp.sum(columns, axis=0, keepdims=True)
  return columns / jnp.where(total > 0, total, 1.0)
