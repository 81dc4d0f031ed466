"""Hard-label distillation: the teacher's predicted class as the label."""

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
  """Matches the student's softmax with the teacher's predicted class.

    loss_i = -sum_k q_ik log softmax(student_i)_k
    q_ik = 1 - a  for k = argmax teacher_i,  a / (K - 1)  for the others

  with a the label smoothing. Of equal largest logits the first is the label.

  Touvron et al., "Training data-efficient image transformers & distillation
  through attention", ICML 2021, arXiv:2012.12877, Section 4, Eq. (3).
  Differs from the authors' code: it does not; the label smoothing follows
  public code of Beyer et al., arXiv:2106.05237.

  Args:
    student: logits.
    teacher: logits.
    label_smoothing: the probability that is spread over the other classes.
  """
  same_shape(student=student, teacher=teacher)
  return cross_entropy(
    student,
    jnp.argmax(teacher, axis=1),
    label_smoothing=label_smoothing,
    smoothing="others",
  )
