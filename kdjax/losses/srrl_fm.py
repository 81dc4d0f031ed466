"""SRRL's feature matching: the mean of each channel."""

import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import same_shape
from kdjax.types import Array


def srrl_fm(
  student: Float[Array, "B *shape C"],
  teacher: Float[Array, "B *shape_teacher C"],
) -> Float[Array, "B"]:
  """Matches the channel means with the teacher's.

    loss_i = 1/C sum_c (mean_hw student_ihwc - mean_hw teacher_ihwc)^2

  Student and teacher may differ in height and width, or be pooled already.

  Yang et al., "Knowledge distillation via softmax regression representation
  learning", ICLR 2021, openreview ZzwDy_wiWv, Eq. (2).
  Differs from the authors' code: it does not.

  Args:
    student: maps [B H W C], tokens [B T C] or vectors [B C].
    teacher: one of these, with as many channels.
  """
  student, teacher = _average(student), _average(teacher)
  same_shape(student=student, teacher=teacher)
  return jnp.mean((student - teacher) ** 2, axis=1)


def _average(x: Float[Array, "B *shape C"]) -> Float[Array, "B C"]:
  return jnp.mean(x.astype(jnp.float32), axis=tuple(range(1, x.ndim - 1)))
