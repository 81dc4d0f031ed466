"""Cross-entropy of classes of which an example may have several."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from kdjax.errors import UserError, same_shape
from kdjax.losses._weights import of_classes
from kdjax.types import Array


def binary_cross_entropy(
  student: Float[Array, "B K"],
  label: Int[Array, "B K"] | Bool[Array, "B K"],
  *,
  positive_weights: tuple | None = None,
  reduction: str = "mean",
) -> Float[Array, "B"]:
  """Matches the student's sigmoid with the label, of every class.

    loss_i = 1/K_i sum_k l_ik,  K_i the classes of i that are known   "mean"
    loss_i =       sum_k l_ik                                         "sum"
    l_ik = -w_k log sigmoid(student_ik)     where y_ik = 1
    l_ik = -log(1 - sigmoid(student_ik))    where y_ik = 0,  0 where y_ik = -1

  and 0 where no class is known; w is 1 where there are no positive weights.

  Bishop, "Pattern Recognition and Machine Learning", 2006, Eq. (5.23); the
  weights are torch's `pos_weight`.
  Differs from the authors' code: there is none; torch knows no unknown class.

  Args:
    student: logits.
    label: of every class, 1 or True where the example has it, 0 or False where
      not, -1 where that is unknown: no loss, and no gradient at all.
    positive_weights: one number a class, or None.
    reduction: over the known classes, "mean" or "sum".
  """
  if reduction not in ("mean", "sum"):
    raise UserError(f"No reduction '{reduction}'.", exists=("mean", "sum"))
  same_shape(student=student, label=label)
  label = label.astype(jnp.int32)
  known = label >= 0
  # Replaced, not only their loss: 0 times a gradient that is not finite is
  # not 0.
  logits = jnp.where(known, student.astype(jnp.float32), 0.0)
  weights = of_classes(positive_weights, logits.shape[1], "positive weights")
  has = -weights[None] * jax.nn.log_sigmoid(logits)
  loss = jnp.where(label > 0, has, -jax.nn.log_sigmoid(-logits))
  loss = jnp.sum(jnp.where(known, loss, 0.0), axis=1)
  if reduction == "sum":
    return loss
  return loss / jnp.maximum(jnp.sum(known, axis=1).astype(jnp.float32), 1.0)
