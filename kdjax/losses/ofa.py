"""OFA: one-for-all distillation with an enhanced target class."""

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from kdjax.errors import same_shape
from kdjax.losses._classes import mask_unlabelled, target_mask
from kdjax.numerics import times_log
from kdjax.types import Array


def ofa(
  student: Float[Array, "B K"],
  teacher: Float[Array, "B K"],
  label: Int[Array, "B"],
  *,
  temperature: float = 1.0,
  power: float = 1.5,
) -> Float[Array, "B"]:
  """Matches softened probabilities, with the target class enhanced.

    loss_i = -sum_k ((p_ik + [k = y_i])^power - [k = y_i]) log q_ik
    p_i = softmax(teacher_i / T),  q_i = softmax(student_i / T)

  and 0 where y_i = -1. With power = 1 it is the cross-entropy with the
  teacher's probabilities; above 1 the target class has more weight, the others
  less.

  Hao et al., "One-for-All: Bridge the Gap Between Heterogeneous Architectures
  in Knowledge Distillation", NeurIPS 2023, arXiv:2310.19444, Section 3.
  Differs from the authors' code: it does not, except where theirs has the
  logarithm of a probability that is 0.

  Args:
    student: logits of the network or of an early exit.
    teacher: logits.
    label: the class, -1 if unlabelled.
    temperature: T of both networks; the loss has no factor T^2.
    power: the paper's gamma, its code's eps.
  """
  same_shape(student=student, teacher=teacher)
  labelled, label, student, teacher = mask_unlabelled(label, student, teacher)
  is_target = target_mask(label, student)
  log_p = jax.nn.log_softmax(teacher / temperature)
  # (1 + p)^power - 1 at the target class, p^power at the others.
  enhanced = jnp.expm1(power * jnp.log1p(jnp.exp(log_p)))
  target = jnp.where(is_target, enhanced, jnp.exp(power * log_p))
  log_q = jax.nn.log_softmax(student / temperature)
  return jnp.where(labelled, -jnp.sum(times_log(target, log_q), axis=1), 0.0)
