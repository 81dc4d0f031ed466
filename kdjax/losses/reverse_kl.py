"""Reverse KL divergence."""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import same_shape
from kdjax.numerics import kl_divergence
from kdjax.types import Array


def reverse_kl(
  student: Float[Array, "B *T K"],
  teacher: Float[Array, "B *T K"],
  *,
  temperature: float = 1.0,
  scale: bool = True,
) -> Float[Array, "B *T"]:
  """Matches the student's probabilities with the teacher's, mode-seeking.

    loss_i = T^2 sum_k q_ik (log q_ik - log p_ik)
    p_i = softmax(teacher_i / T),  q_i = softmax(student_i / T)

  per example or position. It penalises probability where the teacher has none,
  so the student may ignore some of the teacher's modes.

  Gu et al., "MiniLLM: Knowledge Distillation of Large Language Models", ICLR
  2024, arXiv:2306.08543, Eq. (1), for one token.
  Differs from the authors' code: it estimates the divergence of sequences that
  the student samples; this is the exact divergence of each position.

  Args:
    student: logits.
    teacher: logits.
    temperature: T of both networks.
    scale: whether to multiply by T^2.
  """
  same_shape(student=student, teacher=teacher)
  log_p = jax.nn.log_softmax(teacher.astype(jnp.float32) / temperature)
  log_q = jax.nn.log_softmax(student.astype(jnp.float32) / temperature)
  loss = kl_divergence(log_q, log_p)
  return loss * temperature**2 if scale else loss
