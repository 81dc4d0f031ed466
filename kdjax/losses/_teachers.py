"""Several teachers, of which an example may lack some."""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.errors import ShapeError, same_shape
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
