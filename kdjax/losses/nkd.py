"""Normalised knowledge distillation."""

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from kdjax.errors import same_shape
from kdjax.losses._classes import (
  mask_unlabelled,
  non_target_log_softmax,
  target_log_odds,
  target_mask,
)
from kdjax.numerics import times_log
from kdjax.types import Array


def nkd(
  student: Float[Array, "B K"],
  teacher: Float[Array, "B K"],
  label: Int[Array, "B"],
  *,
  temperature: float = 1.0,
  others_weight: float = 1.5,
) -> Float[Array, "B"]:
  """Matches the target class, and the renormalised non-target classes.

    loss_i = -p_i[y_i] log q_i[y_i] - w T^2 sum_{k != y_i} p'_ik log q'_ik
    p_i = softmax(teacher_i),  q_i = softmax(student_i)
    p'_i = softmax over k != y_i of teacher_ik / T
    q'_i = softmax over k != y_i of student_ik / T

  and 0 where y_i = -1. Both parts are cross-entropies and not 0 at p = q. With
  two classes the second part is 0.

  Yang et al., "From Knowledge Distillation to Self-Knowledge Distillation: A
  Unified Approach with Normalized Loss and Customized Soft Labels", ICCV 2023,
  arXiv:2303.13005, Section 3.
  Differs from the authors' code: it does not.

  Args:
    student: logits.
    teacher: logits.
    label: the class, -1 if unlabelled.
    temperature: T, of the second part only.
    others_weight: w, the paper's gamma.
  """
  same_shape(student=student, teacher=teacher)
  labelled, label, student, teacher = mask_unlabelled(label, student, teacher)
  is_target = target_mask(label, student)
  p_target = jax.nn.sigmoid(target_log_odds(teacher, is_target))
  log_q_target = jax.nn.log_sigmoid(target_log_odds(student, is_target))
  target = times_log(-p_target, log_q_target)
  log_p = non_target_log_softmax(teacher / temperature, is_target)
  log_q = non_target_log_softmax(student / temperature, is_target)
  p = jnp.where(is_target, 0.0, jnp.exp(log_p))
  others = -jnp.sum(times_log(p, log_q), axis=1) * temperature**2
  return jnp.where(labelled, target + others_weight * others, 0.0)
