"""Teacher-free KD: distillation from a handcrafted virtual teacher."""

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from kdjax.errors import UserError
from kdjax.losses._classes import mask_unlabelled, target_mask
from kdjax.numerics import class_share, kl_divergence, present_classes
from kdjax.types import Array


def tfkd(
  student: Float[Array, "B K"],
  label: Int[Array, "B"],
  *,
  temperature: float = 20.0,
  student_temperature: float = 1.0,
  correct: float = 0.99,
  reduction: str = "sum",
) -> Float[Array, "B"]:
  """Matches the student's softmax with a virtual teacher's.

    loss_i = sum_k p_ik (log p_ik - log q_ik),  0 where y_i = -1
    p_i = softmax(u_i / T),  q_i = softmax(student_i / T_student)
    u_ik = c for k = y_i,  (1 - c) / (K - 1) for the others

  u_i is already a distribution; its softmax at T = 20 is nearly uniform.

  Yuan et al., "Revisiting Knowledge Distillation via Label Smoothing
  Regularization", CVPR 2020, arXiv:1909.11723, Section 4 (Tf-KD_reg).
  Differs from the authors' code: it is reduction="mean" times a multiplier,
  which is part of the term's weight here. The paper softens the student too
  (student_temperature=20.0); the code does not.

  Args:
    student: logits.
    label: the class, -1 if unlabelled.
    temperature: T of the virtual teacher.
    student_temperature: T_student.
    correct: c, the teacher's value for the label's class.
    reduction: over the classes; "mean" divides the sum by K.
  """
  if reduction not in ("sum", "mean"):
    raise UserError(f"No reduction '{reduction}'.", exists=("sum", "mean"))
  labelled, label, student = mask_unlabelled(label, student)
  K = student.shape[1]
  is_target = target_mask(label, student)
  present = is_target | present_classes(student)
  share = class_share(present, left_out=1)[:, None]
  virtual = jnp.where(is_target, correct, (1.0 - correct) / (K - 1) * share)
  virtual = jnp.where(present, virtual, -jnp.inf)
  log_p = jax.nn.log_softmax(virtual / temperature)
  log_q = jax.nn.log_softmax(student / student_temperature)
  loss = kl_divergence(log_p, log_q)
  if reduction == "mean":
    loss = loss / K * class_share(present)
  return jnp.where(labelled, loss, 0.0)
