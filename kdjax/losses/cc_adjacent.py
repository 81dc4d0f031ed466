"""Errors of examples that follow each other in a batch."""

import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.errors import same_shape
from kdjax.losses._relations import rows, shown
from kdjax.numerics import magnitude
from kdjax.types import Array


def cc_adjacent(
  student: Float[Array, "B D *map"],
  teacher: Float[Array, "B D *map"],
  mask: Bool[Array, "B"] | None = None,
) -> Float[Array, ""]:
  """Matches features, errors of neighbours in the batch multiplied.

    loss = 1/(B-1) sum_{i<B} sum_d e_id e_(i+1)d
    e_id = |student_id - teacher_id|

  It goes by the order of the batch, which has no meaning: of another order it
  is another number. Where a row is hidden those around it are neighbours.

  After Peng et al., "Correlation Congruence for Knowledge Distillation", ICCV
  2019, arXiv:1904.01802, as RepDistiller reads it; the paper's is `cc`.
  Differs from the authors' code: there is none. It does not differ from
  RepDistiller's.

  Args:
    student: features of any shape.
    teacher: the same.
    mask: examples that count.
  """
  same_shape(student=student, teacher=teacher)
  mask = shown(student, mask)
  # Rows that count, in their order, before all that do not.
  order = jnp.argsort(~mask)
  error = magnitude(rows(student, mask) - rows(teacher, mask))
  error = jnp.take(error, order, axis=0)
  # A hidden row is 0 now, and so is any product with it.
  products = jnp.sum(error[:-1] * error[1:])
  number = jnp.sum(mask, dtype=jnp.float32) - 1.0
  return products / jnp.maximum(number, 1.0)
