"""Cosine distance and smooth L1 of features."""

import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import same_shape
from kdjax.losses._relations import smooth_l1
from kdjax.losses.cosine import cosine
from kdjax.types import Array


def cosine_smooth_l1(
  student: Float[Array, "B *T D"],
  teacher: Float[Array, "B *T D"],
  *,
  cosine_weight: float = 0.9,
  l1_weight: float = 0.1,
) -> Float[Array, "B *T_out"]:
  """Matches direction and size of the student's features with the teacher's.

    loss_i = a (1 - cos(student_i, teacher_i))
             + b 1/D sum_d h(student_id - teacher_id)
    h(r) = r^2 / 2  where |r| <= 1,  |r| - 1/2  elsewhere

  per example or position; those of a map are in one axis.

  Ranzinger et al., "AM-RADIO: Agglomerative Vision Foundation Model - Reduce
  All Domains Into One", CVPR 2024, arXiv:2312.06709, Section 3, the loss of
  dense features; a = 0.9 and b = 0.1.
  Differs from the authors' code: it is not public.

  Args:
    student: features [B D], [B T D] or [B H W D].
    teacher: features of the same shape.
    cosine_weight: a.
    l1_weight: b.
  """
  same_shape(student=student, teacher=teacher)
  gap = student.astype(jnp.float32) - teacher.astype(jnp.float32)
  loss = cosine_weight * cosine(student, teacher)
  loss += l1_weight * jnp.mean(smooth_l1(gap), axis=-1)
  return loss if loss.ndim <= 2 else loss.reshape(loss.shape[0], -1)
