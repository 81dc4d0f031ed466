"""Divergence of student and teacher from their mixture."""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import same_shape
from kdjax.types import Array


def jsd(
  student: Float[Array, "B *T K"],
  teacher: Float[Array, "B *T K"],
  *,
  temperature: float = 1.0,
  share: float = 0.5,
  scale: bool = True,
) -> Float[Array, "B *T"]:
  """Matches the classes of both with what is between them.

    loss_i = T^2 (w KL(p_i || m_i) + (1 - w) KL(q_i || m_i))
    m_i = w p_i + (1 - w) q_i
    p_i = softmax(teacher_i / T),  q_i = softmax(student_i / T)

  for every example, or every position of it, with w the teacher's share. It is
  never more than T^2 log 2.

  Agarwal et al., "On-Policy Distillation of Language Models: Learning from
  Self-Generated Mistakes", ICLR 2024, arXiv:2306.13649, Section 2.
  Differs from the authors' code: there is none. DistillKit has w = 1/2 alone,
  and the factor T^2.

  Args:
    student: logits.
    teacher: logits.
    temperature: T, of both.
    share: w, strictly between 0 and 1. Near 0 the loss is w KL(p || q), near 1
      it is (1 - w) KL(q || p).
    scale: with the factor T^2.
  """
  same_shape(student=student, teacher=teacher)
  log_p = jax.nn.log_softmax(teacher.astype(jnp.float32) / temperature)
  log_q = jax.nn.log_softmax(student.astype(jnp.float32) / temperature)
  log_m = jnp.logaddexp(log_p + jnp.log(share), log_q + jnp.log1p(-share))
  kl = lambda log_own: jnp.sum(jnp.exp(log_own) * (log_own - log_m), axis=-1)
  loss = share * kl(log_p) + (1.0 - share) * kl(log_q)
  return loss * temperature**2 if scale else loss
