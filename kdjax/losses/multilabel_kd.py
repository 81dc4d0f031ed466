"""Knowledge distillation of multi-label logits, class by class."""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import UserError, same_shape
from kdjax.losses._classes import mean_over_classes
from kdjax.types import Array


def multilabel_kd(
  student: Float[Array, "B *T K"],
  teacher: Float[Array, "B *T K"],
  *,
  temperature: float = 1.0,
  scale: bool = True,
  reduction: str = "sum",
) -> Float[Array, "B *T"]:
  """Matches the student's probability of each class with the teacher's.

    loss_i = T^2 sum_k KL(Bernoulli(p_ik) || Bernoulli(q_ik))
    p_i = sigmoid(teacher_i / T),  q_i = sigmoid(student_i / T)

  where an example may have several classes or none. It reads no label.

  Yang, Xie, Zong, Feng, Niu, Sugiyama and Huang, "Multi-Label Knowledge
  Distillation", ICCV 2023, arXiv:2308.06453, Section 3.2: the multi-label
  logits distillation (MLD), a divergence for each class against the others.
  Differs from the authors' code: it has no temperature, which is T = 1; T^2 is
  that of the loss `kd`.

  Args:
    student: logits [B K], or of each position [B T K].
    teacher: the same.
    temperature: T, for student and teacher.
    scale: whether to multiply by T^2, which keeps the scale of the gradient as
      T changes.
    reduction: over the classes, "sum" or "mean". A class that both exclude, at
      -inf, is not counted.
  """
  if reduction not in ("sum", "mean"):
    raise UserError(f"No reduction '{reduction}'.", exists=("sum", "mean"))
  same_shape(student=student, teacher=teacher)
  own = student.astype(jnp.float32) / temperature
  soft = teacher.astype(jnp.float32) / temperature
  loss = jnp.sum(_part(soft, own) + _part(-soft, -own), axis=-1)
  if scale:
    loss *= temperature**2
  if reduction == "sum":
    return loss
  return mean_over_classes(loss, student, teacher)


def _part(teacher: Array, student: Array) -> Float[Array, "B *T K"]:
  """p (log p - log q) with p = sigmoid(teacher); 0 where p is 0."""
  p = jax.nn.sigmoid(teacher)
  # Logits are replaced too: 0 times a non-finite gradient is NaN.
  counts = p > 0.0
  log_p = jax.nn.log_sigmoid(jnp.where(counts, teacher, 0.0))
  log_q = jax.nn.log_sigmoid(jnp.where(counts, student, 0.0))
  return jnp.where(counts, p * (log_p - log_q), 0.0)
