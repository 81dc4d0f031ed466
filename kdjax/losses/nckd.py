"""Non-target class knowledge distillation, a part of DKD."""

from jaxtyping import Float, Int

from kdjax.errors import same_shape
from kdjax.losses._classes import (
  mask_unlabelled,
  non_target_log_softmax,
  target_mask,
)
from kdjax.numerics import kl_divergence
from kdjax.types import Array


def nckd(
  student: Float[Array, "B K"],
  teacher: Float[Array, "B K"],
  label: Int[Array, "B"],
  *,
  temperature: float = 4.0,
  scale: bool = True,
) -> Float[Array, "B"]:
  """Matches the softened probabilities among the non-target classes.

    loss_i = T^2 sum_{k != y_i} p_ik (log p_ik - log q_ik)
    p_i = softmax over k != y_i of teacher_ik / T
    q_i = softmax over k != y_i of student_ik / T

  and 0 where y_i = -1. With two classes, loss and gradient are 0.

  Zhao et al., "Decoupled Knowledge Distillation", CVPR 2022, arXiv:2203.08679,
  Section 3.1.
  Differs from the authors' code: the label's class is left out; theirs
  subtracts 1000 from its logit.

  Args:
    student: logits.
    teacher: logits.
    label: the class, -1 if unlabelled.
    temperature: T of both networks.
    scale: whether to multiply by T^2.
  """
  same_shape(student=student, teacher=teacher)
  _, label, student, teacher = mask_unlabelled(label, student, teacher)
  is_target = target_mask(label, student)
  log_p = non_target_log_softmax(teacher / temperature, is_target)
  log_q = non_target_log_softmax(student / temperature, is_target)
  # Unlabelled rows are equal in both, so their loss is 0.
  loss = kl_divergence(log_p, log_q)
  return loss * temperature**2 if scale else loss
