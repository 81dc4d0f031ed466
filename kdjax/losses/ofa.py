"""The loss of one-for-all distillation."""

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from kdjax.errors import same_shape
from kdjax.losses._classes import is_own, labelled
from kdjax.types import Array


def ofa(
  student: Float[Array, "B K"],
  teacher: Float[Array, "B K"],
  label: Int[Array, "B"],
  *,
  temperature: float = 1.0,
  power: float = 1.5,
) -> Float[Array, "B"]:
  """Matches softened classes, the label's enhanced by a power.

    loss_i = -sum_k ((p_ik + [k = y_i])^power - [k = y_i]) log q_ik
    p_i = softmax(teacher_i / T),  q_i = softmax(student_i / T)

  and 0 where y_i = -1. With power = 1 it is cross-entropy with the teacher's
  classes; above 1 the label's class gains and the others lose.

  Hao et al., "One-for-All: Bridge the Gap Between Heterogeneous Architectures
  in Knowledge Distillation", NeurIPS 2023, arXiv:2310.19444, Section 3.
  Differs from the authors' code: it does not, but where theirs takes the
  logarithm of a probability that is 0.

  Args:
    student: logits, of the network or of one of its exits.
    teacher: logits.
    label: the class, -1 where unlabelled.
    temperature: T, of both; there is no factor T^2.
    power: the paper's gamma, its code's eps.
  """
  same_shape(student=student, teacher=teacher)
  known, label, student, teacher = labelled(label, student, teacher)
  own = is_own(label, student)
  log_p = jax.nn.log_softmax(teacher / temperature)
  # (1 + p)^power - 1 at the label's class, p^power at the others.
  enhanced = jnp.expm1(power * jnp.log1p(jnp.exp(log_p)))
  target = jnp.where(own, enhanced, jnp.exp(power * log_p))
  log_q = jax.nn.log_softmax(student / temperature)
  return jnp.where(known, -jnp.sum(target * log_q, axis=1), 0.0)
