"""Curriculum temperature distillation: an adversarially learned temperature."""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import same_shape
from kdjax.losses import _gradient_reversal
from kdjax.numerics import kl_divergence, soften
from kdjax.types import Array


def ctkd(
  student: Float[Array, "B K"],
  teacher: Float[Array, "B K"],
  temperature: Float[Array, "B"],
  *,
  reversal: float = 1.0,
  scale: bool = True,
) -> Float[Array, "B"]:
  """Matches softened probabilities at an adversarially learned temperature.

    loss_i = T_i^2 sum_k p_ik (log p_ik - log q_ik)
    p_i = softmax(teacher_i / T_i),  q_i = softmax(student_i / T_i)
    d loss / d T_i is multiplied by -reversal

  so that the temperature is trained to maximise what the student minimises.

  Li et al., "Curriculum Temperature for Knowledge Distillation", AAAI 2023,
  arXiv:2211.16231, Section 3.
  Differs from the authors' code: it does not. There the factor rises from 0 to
  1 in ten epochs along a cosine: set `reversal` to a schedule.

  Args:
    student: logits.
    teacher: logits.
    temperature: T_i, from a head 'temperature'.
    reversal: the factor of the reversed gradient of the temperature.
    scale: whether to multiply by T_i^2, which the temperature learns through.
  """
  same_shape(student=student, teacher=teacher)
  temperature = _gradient_reversal.reverse_gradient(
    temperature.astype(jnp.float32), jnp.asarray(reversal, jnp.float32)
  )
  log_p = jax.nn.log_softmax(
    soften(teacher.astype(jnp.float32), temperature[:, None])
  )
  log_q = jax.nn.log_softmax(
    soften(student.astype(jnp.float32), temperature[:, None])
  )
  loss = kl_divergence(log_p, log_q)
  return loss * temperature**2 if scale else loss
