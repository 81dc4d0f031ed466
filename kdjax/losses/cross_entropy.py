"""Cross-entropy with integer labels."""

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from kdjax.errors import ShapeError, UserError
from kdjax.numerics import class_share, present_classes, times_log
from kdjax.types import Array


def cross_entropy(
  student: Float[Array, "B *T K"],
  label: Int[Array, "B *T"],
  *,
  label_smoothing: float = 0.0,
  smoothing: str = "uniform",
  class_weights: tuple | None = None,
) -> Float[Array, "B *T"]:
  """Matches the student's softmax with the label, per example or position.

    loss_i = -w[y_i] sum_k q_ik log softmax(student_i)_k,  0 where y_i = -1
    q_ik = (1 - a) [k = y_i] + a / K                       "uniform"
    q_ik = (1 - a) [k = y_i] + a / (K - 1) [k != y_i]      "others"

  with a the label smoothing and w the class weights (1 if None). K counts the
  classes that the student has: none of the smoothing is on a class at -inf. The
  loss is infinite where the label's class is at -inf.

  Szegedy et al., "Rethinking the Inception Architecture for Computer Vision",
  CVPR 2016, arXiv:1512.00567, Section 7 ("uniform"); Yuan et al., "Revisiting
  Knowledge Distillation via Label Smoothing Regularization", CVPR 2020,
  arXiv:1909.11723 ("others", as in its code).
  Differs from the authors' code: the objective divides the sum by the number of
  labelled examples. torch divides it by the sum of their class weights, and
  weights each class's part of a smoothed label by that class.

  Args:
    student: logits.
    label: the class; -1 if unlabelled, which gives no loss and no gradient.
    label_smoothing: the probability that is spread over classes.
    smoothing: spread over all classes, "uniform", or the others, "others".
    class_weights: one weight per class, or None.
  """
  if smoothing not in ("uniform", "others"):
    raise UserError(
      f"No smoothing '{smoothing}'.", exists=("uniform", "others")
    )
  *rows, K = student.shape
  if label.shape != tuple(rows):
    raise ShapeError(
      f"The label is {list(label.shape)}, the student {[*rows, K]}.",
      f"Expected a label of shape {rows}.",
    )
  if class_weights is not None and len(class_weights) != K:
    raise ShapeError(
      f"The loss got {len(class_weights)} class weights for {K} classes.",
      f"Expected {K}, one per class.",
    )
  labelled = label >= 0
  label = jnp.where(labelled, label, 0)
  # Logits of unlabelled rows are replaced too: a gradient of 0 times a
  # non-finite gradient is NaN.
  logits = jnp.where(labelled[..., None], student.astype(jnp.float32), 0.0)
  log_p = jax.nn.log_softmax(logits)
  target = jnp.take_along_axis(log_p, label[..., None], axis=-1)[..., 0]
  present = present_classes(logits)
  if smoothing == "uniform":
    spread = jnp.mean(jnp.where(present, log_p, 0.0), axis=-1)
    spread *= class_share(present)
  else:
    others = (jax.nn.one_hot(label, K) == 0.0) & present
    spread = jnp.sum(jnp.where(others, log_p, 0.0), axis=-1) / max(K - 1, 1)
    spread *= class_share(present, left_out=1)
  loss = times_log(-(1.0 - label_smoothing), target) - label_smoothing * spread
  if class_weights is not None:
    # A class of weight 0 has no loss, also where it is at -inf.
    loss = times_log(jnp.asarray(class_weights, jnp.float32)[label], loss)
  return jnp.where(labelled, loss, 0.0)
