"""Multi-level logit distillation: the level of a class."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.errors import UserError, same_shape
from kdjax.losses._batch import gram, selected_mean, shown
from kdjax.types import Array


def mlkd_class(
  student: Float[Array, "B K"],
  teacher: Float[Array, "B K"],
  mask: Bool[Array, "B"] | None = None,
  *,
  temperatures: tuple = (4.0, 3.0, 5.0, 2.0, 6.0),
  select: str = "all",
) -> Float[Array, ""]:
  """Matches which classes go together over the batch.

    loss = 1/K sum_T sum_k w_k sum_l ((Q^T Q)_kl - (P^T P)_kl)^2
    P = softmax(teacher / T),  Q = softmax(student / T)
    w_k = 1                                           "all"
    w_k = [sum_i softmax(teacher_i)_k <= its median]  "low"
    w_k = the mean of that over the classes           "share"

  A loss of the whole batch; it grows with the batch.

  Jin, Wang and Lin, "Multi-Level Logit Distillation", CVPR 2023, Section 3.
  Differs from the authors' code: it is select="share" (see `mlkd_instance`).

  Args:
    student: logits.
    teacher: logits.
    mask: the examples that count; None is all.
    temperatures: every T.
    select: the weights: "all", "low" or "share".
  """
  if select not in ("all", "low", "share"):
    raise UserError(f"No '{select}'.", exists=("all", "low", "share"))
  same_shape(student=student, teacher=teacher)
  counted, student, teacher = shown(mask, student, teacher)
  soft = lambda logits, one: jnp.where(
    counted[:, None], jax.nn.softmax(logits / one), 0.0
  )
  gaps = [
    gram(soft(student, one).T) - gram(soft(teacher, one).T)
    for one in temperatures
  ]
  rows = sum(jnp.sum(gap**2, axis=1) for gap in gaps)
  sure = jnp.sum(soft(teacher, 1.0), axis=0)
  return selected_mean(rows, sure, None, select)
