"""Binary cross-entropy for multi-label classification."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from kdjax.errors import UserError, same_shape
from kdjax.losses._class_weights import class_weights_or_ones
from kdjax.types import Array


def binary_cross_entropy(
  student: Float[Array, "B K"],
  label: Int[Array, "B K"] | Bool[Array, "B K"],
  *,
  positive_weights: tuple | None = None,
  reduction: str = "mean",
) -> Float[Array, "B"]:
  """Matches the student's sigmoid with a multi-hot label.

    loss_i = 1/K_i sum_k l_ik,  K_i the number of known classes of i  "mean"
    loss_i =       sum_k l_ik                                         "sum"
    l_ik = -w_k log sigmoid(student_ik)     where y_ik = 1
    l_ik = -log(1 - sigmoid(student_ik))    where y_ik = 0,  0 where y_ik = -1

  and 0 where no class is known; w is 1 without positive weights.

  Bishop, "Pattern Recognition and Machine Learning", 2006, Eq. (5.23); the
  weights are torch's `pos_weight`.
  Differs from the authors' code: there is none; torch has no unknown classes.

  Args:
    student: logits.
    label: per class, 1 or True if the example has it, 0 or False if not, -1 if
      unknown. An unknown class has no loss and no gradient.
    positive_weights: one weight per class, or None.
    reduction: over the known classes, "mean" or "sum".

  Raises:
    UserError: label has floats, such as a teacher's logits.
  """
  if reduction not in ("mean", "sum"):
    raise UserError(f"No reduction '{reduction}'.", exists=("mean", "sum"))
  same_shape(student=student, label=label)
  if jnp.issubdtype(label.dtype, jnp.floating):
    raise UserError(
      f"binary_cross_entropy: label is {label.dtype}, not integers or"
      " booleans.",
      "The loss 'multilabel_kd' learns from a teacher's logits.",
    )
  label = label.astype(jnp.int32)
  known = label >= 0
  # Logits are replaced too: 0 times a non-finite gradient is NaN.
  logits = jnp.where(known, student.astype(jnp.float32), 0.0)
  weights = class_weights_or_ones(
    positive_weights, logits.shape[1], "positive weights"
  )
  positive = -weights[None] * jax.nn.log_sigmoid(logits)
  loss = jnp.where(label > 0, positive, -jax.nn.log_sigmoid(-logits))
  loss = jnp.sum(jnp.where(known, loss, 0.0), axis=1)
  if reduction == "sum":
    return loss
  return loss / jnp.maximum(jnp.sum(known, axis=1).astype(jnp.float32), 1.0)
