"""Target class knowledge distillation, a part of DKD."""

import jax
from jaxtyping import Float, Int

from kdjax.errors import same_shape
from kdjax.losses._classes import mask_unlabelled, target_log_odds, target_mask
from kdjax.numerics import times_log
from kdjax.types import Array


def tckd(
  student: Float[Array, "B K"],
  teacher: Float[Array, "B K"],
  label: Int[Array, "B"],
  *,
  temperature: float = 4.0,
  scale: bool = True,
) -> Float[Array, "B"]:
  """Matches the softened probability of the target class.

    loss_i = T^2 (p_i log(p_i / q_i) + (1 - p_i) log((1 - p_i) / (1 - q_i)))
    p_i = softmax(teacher_i / T)[y_i],  q_i = softmax(student_i / T)[y_i]

  and 0 where y_i = -1. The target-class part of KD transfers the difficulty of
  an example.

  Zhao et al., "Decoupled Knowledge Distillation", CVPR 2022, arXiv:2203.08679,
  Section 3.1.
  Differs from the authors' code: probabilities are computed from log-odds;
  theirs has the logarithm of sums that may be 0.

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
  q = target_log_odds(student / temperature, is_target)
  p = target_log_odds(teacher / temperature, is_target)
  log = jax.nn.log_sigmoid
  loss = times_log(jax.nn.sigmoid(p), log(p) - log(q))
  loss += times_log(jax.nn.sigmoid(-p), log(-p) - log(-q))
  # Unlabelled rows are equal in both, so their loss is 0.
  return loss * temperature**2 if scale else loss
