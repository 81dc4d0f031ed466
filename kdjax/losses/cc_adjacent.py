"""RepDistiller's correlation congruence: errors of adjacent examples."""

import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.errors import same_shape
from kdjax.losses._relations import default_mask, masked_rows
from kdjax.numerics import safe_abs
from kdjax.types import Array


def cc_adjacent(
  student: Float[Array, "B D *map"],
  teacher: Float[Array, "B D *map"],
  mask: Bool[Array, "B"] | None = None,
) -> Float[Array, ""]:
  """Matches features by the products of errors of adjacent examples.

    loss = 1/(B-1) sum_{i<B} sum_d e_id e_(i+1)d
    e_id = |student_id - teacher_id|

  The value depends on the order of the batch, which has no meaning. Masked rows
  are removed before rows are paired.

  After Peng et al., "Correlation Congruence for Knowledge Distillation", ICCV
  2019, arXiv:1904.01802, as implemented by RepDistiller; the paper's is `cc`.
  Differs from the authors' code: it is not public. It does not differ from
  RepDistiller's.

  Args:
    student: features of any shape.
    teacher: features of the same shape.
    mask: True for valid examples; None is all.
  """
  same_shape(student=student, teacher=teacher)
  mask = default_mask(student, mask)
  # Valid rows, in their order, before the masked rows.
  order = jnp.argsort(~mask)
  error = safe_abs(masked_rows(student, mask) - masked_rows(teacher, mask))
  error = jnp.take(error, order, axis=0)
  # Masked rows are 0, and so is any product with them.
  products = jnp.sum(error[:-1] * error[1:])
  count = jnp.sum(mask, dtype=jnp.float32) - 1.0
  return products / jnp.maximum(count, 1.0)
