"""Generalised Jensen-Shannon divergence."""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import same_shape
from kdjax.numerics import kl_divergence, present_classes
from kdjax.types import Array


def jsd(
  student: Float[Array, "B *T K"],
  teacher: Float[Array, "B *T K"],
  *,
  temperature: float = 1.0,
  share: float = 0.5,
  scale: bool = True,
) -> Float[Array, "B *T"]:
  """Matches the probabilities of both networks with their mixture.

    loss_i = T^2 (w KL(p_i || m_i) + (1 - w) KL(q_i || m_i))
    m_i = w p_i + (1 - w) q_i
    p_i = softmax(teacher_i / T),  q_i = softmax(student_i / T)

  per example or position, with w the teacher's share. It is at most T^2 log 2.

  Agarwal et al., "On-Policy Distillation of Language Models: Learning from
  Self-Generated Mistakes", ICLR 2024, arXiv:2306.13649, Section 2.
  Differs from the authors' code: it is not public. DistillKit has only w = 1/2,
  with the factor T^2.

  Args:
    student: logits.
    teacher: logits.
    temperature: T of both networks.
    share: w, strictly between 0 and 1. Near 0 the loss is w KL(p || q), near 1
      it is (1 - w) KL(q || p).
    scale: whether to multiply by T^2.
  """
  same_shape(student=student, teacher=teacher)
  log_p = jax.nn.log_softmax(teacher.astype(jnp.float32) / temperature)
  log_q = jax.nn.log_softmax(student.astype(jnp.float32) / temperature)
  # A class that both exclude: the gradient of logaddexp of twice -inf is NaN.
  present = present_classes(log_p, log_q)
  first, second = (jnp.where(present, log_r, 0.0) for log_r in (log_p, log_q))
  log_m = jnp.logaddexp(first + jnp.log(share), second + jnp.log1p(-share))
  loss = share * kl_divergence(log_p, log_m)
  loss += (1.0 - share) * kl_divergence(log_q, log_m)
  return loss * temperature**2 if scale else loss
