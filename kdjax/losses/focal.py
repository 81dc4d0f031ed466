"""Focal loss: cross-entropy that down-weights easy examples."""

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from kdjax.losses._class_weights import class_weights_or_ones
from kdjax.losses._classes import mask_unlabelled, target_log_odds, target_mask
from kdjax.numerics import times_log
from kdjax.types import Array


def focal(
  student: Float[Array, "B K"],
  label: Int[Array, "B"],
  *,
  gamma: float = 2.0,
  class_weights: tuple | None = None,
) -> Float[Array, "B"]:
  """Matches the student's softmax with the label, focused on hard examples.

    loss_i = -w[y_i] (1 - p_i)^gamma log p_i,  p_i = softmax(student_i)[y_i]

  and 0 where y_i = -1; w is 1 without class weights.

  Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017,
  arXiv:1708.02002, Eq. (4) and (5).
  Differs from the authors' code: theirs is for a detector with one sigmoid per
  class, and has one weight for positives and another for negatives.

  Args:
    student: logits.
    label: the class; -1 if unlabelled, which gives no loss and no gradient.
    gamma: the strength of the down-weighting; 0 is cross-entropy.
    class_weights: one weight per class, the paper's alpha, or None.
  """
  labelled, label, student = mask_unlabelled(label, student)
  log_odds = target_log_odds(student, target_mask(label, student))
  # (1 - p)^gamma; 1, with gradient 0, where the label's class is at -inf.
  absent = jnp.isneginf(log_odds)
  log_rest = jax.nn.log_sigmoid(-jnp.where(absent, 0.0, log_odds))
  focus = jnp.where(absent, 1.0, jnp.exp(times_log(gamma, log_rest)))
  weights = class_weights_or_ones(class_weights, student.shape[1])[label]
  loss = times_log(-weights * focus, jax.nn.log_sigmoid(log_odds))
  return jnp.where(labelled, loss, 0.0)
