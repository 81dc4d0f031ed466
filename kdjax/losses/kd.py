"""Knowledge distillation with softened class probabilities."""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import ShapeError, UserError, same_shape
from kdjax.losses._classes import mean_over_classes
from kdjax.numerics import kl_divergence
from kdjax.types import Array


def kd(
  student: Float[Array, "B *T K"],
  teacher: Float[Array, "B *T K"],
  *,
  temperature: float = 4.0,
  student_temperature: float | None = None,
  scale: bool = True,
  reduction: str = "sum",
) -> Float[Array, "B *T"]:
  """Matches the student's softened probabilities with the teacher's.

    loss_i = T^2 sum_k p_ik (log p_ik - log q_ik)
    p_i = softmax(teacher_i / T),  q_i = softmax(student_i / T_student)

  Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network",
  NIPS Deep Learning Workshop 2014, arXiv:1503.02531, Section 2, Eq. (1).
  Differs from the authors' code: it is not public. The paper has the
  cross-entropy, which is this plus the teacher's entropy, with the same
  gradient for the student. Public implementations differ in all options.

  Args:
    student: logits [B K], or of each position [B T K].
    teacher: the same.
    temperature: T; also of the student, unless `student_temperature` is set.
    student_temperature: T_student. 1.0 is generalised distillation (Lopez-Paz
      et al., arXiv:1511.03643), where the student is not softened.
    scale: whether to multiply by the teacher's T^2, which keeps the scale of
      the gradient as T changes.
    reduction: over the classes. "sum", averaged over the batch, is torch's
      "batchmean"; "mean" divides it by K, as torch's `KLDivLoss()` does. A
      class that both exclude, at -inf, is not counted.
  """
  if reduction not in ("sum", "mean"):
    raise UserError(f"No reduction '{reduction}'.", exists=("sum", "mean"))
  try:
    same_shape(student=student, teacher=teacher)
  except ShapeError as error:
    raise ShapeError(
      str(error),
      "If the networks have different classes, add a head 'select' on the one"
      " with more: it picks the classes of the other, in its order.",
    ) from None
  if student_temperature is None:
    student_temperature = temperature
  log_p = jax.nn.log_softmax(teacher.astype(jnp.float32) / temperature)
  log_q = jax.nn.log_softmax(student.astype(jnp.float32) / student_temperature)
  loss = kl_divergence(log_p, log_q)
  if scale:
    loss *= temperature**2
  if reduction == "sum":
    return loss
  return mean_over_classes(loss, student, teacher)
