"""Cross-entropy with integer labels."""

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from kdjax.errors import ShapeError, UserError
from kdjax.types import Array


def cross_entropy(
  student: Float[Array, "B *T K"],
  label: Int[Array, "B *T"],
  *,
  label_smoothing: float = 0.0,
  smoothing: str = "uniform",
  class_weights: tuple | None = None,
) -> Float[Array, "B *T"]:
  """Matches the student's softmax with the label, of examples or positions.

    loss_i = -w[y_i] sum_k q_ik log softmax(student_i)_k,  0 where y_i = -1
    q_ik = (1 - a) [k = y_i] + a / K                       "uniform"
    q_ik = (1 - a) [k = y_i] + a / (K - 1) [k != y_i]      "others"

  with a the label smoothing and w the class weights (1 where there are none).

  Szegedy et al., "Rethinking the Inception Architecture for Computer Vision",
  CVPR 2016, arXiv:1512.00567, Section 7 ("uniform"); Yuan et al., "Revisiting
  Knowledge Distillation via Label Smoothing Regularization", CVPR 2020,
  arXiv:1909.11723 ("others", as in its code).
  Differs from the authors' code: the objective divides the sum by the count of
  labelled examples; torch divides it by the sum of their class weights, and
  weights every class's part of a smoothed label by that class.

  Args:
    student: logits.
    label: the class, -1 where unlabelled: no loss, and no gradient at all.
    label_smoothing: the share of the label that is spread.
    smoothing: over which classes, "uniform" or "others".
    class_weights: one number a class, or None.
  """
  if smoothing not in ("uniform", "others"):
    raise UserError(
      f"No smoothing '{smoothing}'.", exists=("uniform", "others")
    )
  *rows, K = student.shape
  if label.shape != tuple(rows):
    raise ShapeError(
      f"The label is {list(label.shape)}, the student {[*rows, K]}.",
      f"The label must be {rows}.",
    )
  if class_weights is not None and len(class_weights) != K:
    raise ShapeError(
      f"There are {len(class_weights)} class weights for {K} classes.",
      "They must be as many.",
    )
  labelled = label >= 0
  label = jnp.where(labelled, label, 0)
  # Logits of an unlabelled row are replaced, not only its loss: a gradient of 0
  # times one that is not finite would not be 0.
  logits = jnp.where(labelled[..., None], student.astype(jnp.float32), 0.0)
  log_p = jax.nn.log_softmax(logits)
  own = jnp.take_along_axis(log_p, label[..., None], axis=-1)[..., 0]
  if smoothing == "uniform":
    spread = jnp.mean(log_p, axis=-1)
  else:
    others = jax.nn.one_hot(label, K) == 0.0
    spread = jnp.sum(jnp.where(others, log_p, 0.0), axis=-1) / max(K - 1, 1)
  loss = -(1.0 - label_smoothing) * own - label_smoothing * spread
  if class_weights is not None:
    loss *= jnp.asarray(class_weights, jnp.float32)[label]
  return jnp.where(labelled, loss, 0.0)
