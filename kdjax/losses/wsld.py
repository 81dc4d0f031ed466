"""Weighted soft labels."""

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from kdjax.errors import same_shape
from kdjax.losses._classes import is_own, labelled, margin
from kdjax.types import Array


def wsld(
  student: Float[Array, "B K"],
  teacher: Float[Array, "B K"],
  label: Int[Array, "B"],
  student_target: Float[Array, "B K"],
  *,
  temperature: float = 4.0,
  scale: bool = True,
  epsilon: float = 1e-7,
) -> Float[Array, "B"]:
  """Matches softened classes, the less the better the student knows the label.

    loss_i = T^2 w_i (- sum_k p_ik log q_ik)
    w_i = 1 - exp(-CE(student_target_i, y_i) / CE(teacher_i, y_i))
    p_i = softmax(teacher_i / T),  q_i = softmax(student_i / T)

  and 0 where y_i = -1. The weights carry no gradient: `student_target` are the
  student's logits read as a target (`targets=("teacher", "student_target")`).

  Zhou et al., "Rethinking Soft Labels for Knowledge Distillation: A
  Bias-Variance Tradeoff Perspective", ICLR 2021, arXiv:2102.00650, Section 4.
  Differs from the authors' code: it does not; their factor 2.25 is the weight
  of the term.

  Args:
    student: logits.
    teacher: logits.
    label: the class, -1 where unlabelled.
    student_target: the same logits as `student`, of which the weights are.
    temperature: T, of both in what is matched; the weights have none.
    scale: with the factor T^2.
    epsilon: added to the teacher's cross-entropy.
  """
  same_shape(student=student, teacher=teacher, student_target=student_target)
  known, label, student, teacher, still = labelled(
    label, student, teacher, student_target
  )
  own = is_own(label, student)
  surprise = lambda logits: jax.nn.softplus(-margin(logits, own))
  ratio = surprise(still) / (surprise(teacher) + epsilon)
  p = jax.nn.softmax(teacher / temperature)
  log_q = jax.nn.log_softmax(student / temperature)
  loss = -jnp.expm1(-ratio) * -jnp.sum(p * log_q, axis=1)
  if scale:
    loss *= temperature**2
  return jnp.where(known, loss, 0.0)
