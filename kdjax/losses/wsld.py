"""WSLD: weighted soft labels."""

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from kdjax.errors import same_shape
from kdjax.losses._classes import mask_unlabelled, target_log_odds, target_mask
from kdjax.numerics import times_log
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
  """Matches softened probabilities, with less weight on easy examples.

    loss_i = T^2 w_i (- sum_k p_ik log q_ik)
    w_i = 1 - exp(-CE(student_target_i, y_i) / CE(teacher_i, y_i))
    p_i = softmax(teacher_i / T),  q_i = softmax(student_i / T)

  and 0 where y_i = -1. The weights have no gradient, because the term declares
  `student_target` a target (`targets=("teacher", "student_target")`).

  Zhou et al., "Rethinking Soft Labels for Knowledge Distillation: A
  Bias-Variance Tradeoff Perspective", ICLR 2021, arXiv:2102.00650, Section 4.
  Differs from the authors' code: it does not; their factor 2.25 is the term's
  weight here.

  Args:
    student: logits.
    teacher: logits.
    label: the class, -1 if unlabelled.
    student_target: the same logits as `student`, for the weights.
    temperature: T of both networks; the weights are at temperature 1.
    scale: whether to multiply by T^2.
    epsilon: added to the teacher's cross-entropy.
  """
  same_shape(student=student, teacher=teacher, student_target=student_target)
  labelled, label, student, teacher, fixed = mask_unlabelled(
    label, student, teacher, student_target
  )
  is_target = target_mask(label, student)
  cost = lambda logits: jax.nn.softplus(-target_log_odds(logits, is_target))
  ratio = cost(fixed) / (cost(teacher) + epsilon)
  p = jax.nn.softmax(teacher / temperature)
  log_q = jax.nn.log_softmax(student / temperature)
  soft = -jnp.sum(times_log(p, log_q), axis=1)
  loss = times_log(-jnp.expm1(-ratio), soft)
  if scale:
    loss *= temperature**2
  return jnp.where(labelled, loss, 0.0)
