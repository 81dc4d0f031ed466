"""Angle between features."""

import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import same_shape
from kdjax.numerics import unit
from kdjax.types import Array


def cosine(
  student: Float[Array, "B *T D"],
  teacher: Float[Array, "B *T D"],
) -> Float[Array, "B *T"]:
  """Matches the direction of the student's features with the teacher's.

    loss_i = 1 - sum_d student_id teacher_id / (|student_i| |teacher_i|)

  for every example, or every position of it. A feature that is all zero has no
  direction: its loss is 1, and its gradient 0.

  Sanh et al., "DistilBERT, a distilled version of BERT: smaller, faster,
  cheaper and lighter", NeurIPS EMC2 Workshop 2019, arXiv:1910.01108, Section 3.
  Differs from the authors' code: it does not (torch's `CosineEmbeddingLoss`
  with target 1), but for an epsilon in the norms.

  Args:
    student: features [B D] or [B T D].
    teacher: the same.
  """
  same_shape(student=student, teacher=teacher)
  return 1.0 - jnp.sum(unit(student) * unit(teacher), axis=-1)
