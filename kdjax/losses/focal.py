"""Cross-entropy in which what is already right counts little."""

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from kdjax.losses._classes import is_own, labelled, margin
from kdjax.losses._weights import of_classes
from kdjax.types import Array


def focal(
  student: Float[Array, "B K"],
  label: Int[Array, "B"],
  *,
  gamma: float = 2.0,
  class_weights: tuple | None = None,
) -> Float[Array, "B"]:
  """Matches the student's softmax with the label, hard examples above all.

    loss_i = -w[y_i] (1 - p_i)^gamma log p_i,  p_i = softmax(student_i)[y_i]

  and 0 where y_i = -1; w is 1 where there are no class weights.

  Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017,
  arXiv:1708.02002, Eq. (4) and (5).
  Differs from the authors' code: theirs is of a detector's sigmoids, one a
  class, with one weight for what is there and another for what is not.

  Args:
    student: logits.
    label: the class, -1 where unlabelled: no loss, and no gradient at all.
    gamma: how much less the right ones count; 0 is cross-entropy.
    class_weights: one number a class, the paper's alpha, or None.
  """
  known, label, student = labelled(label, student)
  odds = margin(student, is_own(label, student))
  missed = jnp.exp(gamma * jax.nn.log_sigmoid(-odds))
  weights = of_classes(class_weights, student.shape[1])[label]
  loss = -weights * missed * jax.nn.log_sigmoid(odds)
  return jnp.where(known, loss, 0.0)
