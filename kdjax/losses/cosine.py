"""Cosine distance of features."""

import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import same_shape
from kdjax.numerics import l2_normalize
from kdjax.types import Array


def cosine(
  student: Float[Array, "B *T D"],
  teacher: Float[Array, "B *T D"],
) -> Float[Array, "B *T"]:
  """Matches the direction of the student's features with the teacher's.

    loss_i = 1 - sum_d student_id teacher_id / (|student_i| |teacher_i|)

  per example or position. For a zero feature the loss is 1 and the gradient 0.

  Sanh et al., "DistilBERT, a distilled version of BERT: smaller, faster,
  cheaper and lighter", NeurIPS EMC2 Workshop 2019, arXiv:1910.01108, Section 3.
  Differs from the authors' code: it does not (torch's `CosineEmbeddingLoss`
  with target 1), but for an epsilon in the norms.

  Args:
    student: features [B D] or [B T D].
    teacher: features of the same shape.
  """
  same_shape(student=student, teacher=teacher)
  return 1.0 - jnp.sum(l2_normalize(student) * l2_normalize(teacher), axis=-1)
