"""Multi-level logit distillation: batch level."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.errors import UserError, same_shape
from kdjax.losses._batch import gram, selected_mean, top_log_odds, zero_masked
from kdjax.types import Array


def mlkd_batch(
  student: Float[Array, "B K"],
  teacher: Float[Array, "B K"],
  mask: Bool[Array, "B"] | None = None,
  *,
  temperatures: tuple = (4.0, 3.0, 5.0, 2.0, 6.0),
  select: str = "all",
) -> Float[Array, ""]:
  """Matches the Gram matrix of softened probabilities over the examples.

    loss = 1/B sum_T sum_i w_i sum_j ((Q Q^T)_ij - (P P^T)_ij)^2
    P = softmax(teacher / T),  Q = softmax(student / T)
    w_i = 1                                          "all"
    w_i = [max_k softmax(teacher_i) <= its median]   "low"
    w_i = the mean of "low" over the batch           "share"

  A loss over the whole batch.

  Jin, Wang and Lin, "Multi-Level Logit Distillation", CVPR 2023, Section 3.
  Differs from the authors' code: it is select="share" (see `mlkd_instance`).

  Args:
    student: logits.
    teacher: logits.
    mask: True for valid examples; None is all.
    temperatures: all T.
    select: the weights: "all", "low" or "share".
  """
  if select not in ("all", "low", "share"):
    raise UserError(f"No select '{select}'.", exists=("all", "low", "share"))
  same_shape(student=student, teacher=teacher)
  valid, student, teacher = zero_masked(mask, student, teacher)
  soft = lambda logits, T: jnp.where(
    valid[:, None], jax.nn.softmax(logits / T), 0.0
  )
  gaps = [gram(soft(student, T)) - gram(soft(teacher, T)) for T in temperatures]
  rows = sum(jnp.sum(gap**2, axis=1) for gap in gaps)
  return selected_mean(rows, top_log_odds(teacher), valid, select)
