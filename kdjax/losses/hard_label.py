"""The teacher's decision as a label."""

import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import same_shape
from kdjax.losses.cross_entropy import cross_entropy
from kdjax.types import Array


def hard_label(
  student: Float[Array, "B K"],
  teacher: Float[Array, "B K"],
  *,
  label_smoothing: float = 0.0,
) -> Float[Array, "B"]:
  """Matches the student's softmax with the class that the teacher says.

    loss_i = -sum_k q_ik log softmax(student_i)_k
    q_ik = 1 - a  for k = argmax teacher_i,  a / (K - 1)  for the others

  with a the label smoothing. Of classes that the teacher finds equal it is the
  first.

  Touvron et al., "Training data-efficient image transformers & distillation
  through attention", ICML 2021, arXiv:2012.12877, Section 4, Eq. (3).
  Differs from the authors' code: it does not; smoothing of this label is that
  of public code of Beyer et al., arXiv:2106.05237.

  Args:
    student: logits.
    teacher: logits.
    label_smoothing: the share of the label that the other classes have.
  """
  same_shape(student=student, teacher=teacher)
  return cross_entropy(
    student,
    jnp.argmax(teacher, axis=1),
    label_smoothing=label_smoothing,
    smoothing="others",
  )
