"""Normalised knowledge distillation."""

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from kdjax.errors import same_shape
from kdjax.losses._classes import is_own, labelled, log_others, margin
from kdjax.types import Array


def nkd(
  student: Float[Array, "B K"],
  teacher: Float[Array, "B K"],
  label: Int[Array, "B"],
  *,
  temperature: float = 1.0,
  others_weight: float = 1.5,
) -> Float[Array, "B"]:
  """Matches the label's class, and the others once they sum to one.

    loss_i = -p_i[y_i] log q_i[y_i] - w T^2 sum_{k != y_i} p'_ik log q'_ik
    p_i = softmax(teacher_i),  q_i = softmax(student_i)
    p'_i = softmax over k != y_i of teacher_ik / T,  q'_i likewise

  and 0 where y_i = -1. Cross-entropies: at p = q it is not 0. Of two classes
  the second part is 0.

  Yang et al., "From Knowledge Distillation to Self-Knowledge Distillation: A
  Unified Approach with Normalized Loss and Customized Soft Labels", ICCV 2023,
  arXiv:2303.13005, Section 3.
  Differs from the authors' code: it does not.

  Args:
    student: logits.
    teacher: logits.
    label: the class, -1 where unlabelled.
    temperature: T, of the second part alone.
    others_weight: w, the paper's gamma.
  """
  same_shape(student=student, teacher=teacher)
  known, label, student, teacher = labelled(label, student, teacher)
  own = is_own(label, student)
  sure = jax.nn.sigmoid(margin(teacher, own))
  target = -sure * jax.nn.log_sigmoid(margin(student, own))
  log_p = log_others(teacher / temperature, own)
  log_q = log_others(student / temperature, own)
  p = jnp.where(own, 0.0, jnp.exp(log_p))
  others = -jnp.sum(p * log_q, axis=1) * temperature**2
  return jnp.where(known, target + others_weight * others, 0.0)
