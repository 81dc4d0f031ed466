"""Knowledge distillation among the classes that are not the label's."""

import jax.numpy as jnp
from jaxtyping import Float, Int

from kdjax.errors import same_shape
from kdjax.losses._classes import is_own, labelled, log_others
from kdjax.types import Array


def nckd(
  student: Float[Array, "B K"],
  teacher: Float[Array, "B K"],
  label: Int[Array, "B"],
  *,
  temperature: float = 4.0,
  scale: bool = True,
) -> Float[Array, "B"]:
  """Matches the student's preferences among wrong classes with the teacher's.

    loss_i = T^2 sum_{k != y_i} p_ik (log p_ik - log q_ik)
    p_i = softmax over k != y_i of teacher_ik / T,  q_i likewise of the student

  and 0 where y_i = -1. Of two classes one alone is not the label's, which is
  certain: the loss is 0, and so is its gradient.

  Zhao et al., "Decoupled Knowledge Distillation", CVPR 2022, arXiv:2203.08679,
  Section 3.1.
  Differs from the authors' code: the label's class is left out, where theirs
  takes 1000 from its logit.

  Args:
    student: logits.
    teacher: logits.
    label: the class, -1 where unlabelled.
    temperature: T, of both.
    scale: with the factor T^2.
  """
  same_shape(student=student, teacher=teacher)
  _, label, student, teacher = labelled(label, student, teacher)
  own = is_own(label, student)
  log_p = log_others(teacher / temperature, own)
  log_q = log_others(student / temperature, own)
  # Rows without a label are equal in both, and so 0.
  loss = jnp.sum(jnp.exp(log_p) * (log_p - log_q), axis=1)
  return loss * temperature**2 if scale else loss
