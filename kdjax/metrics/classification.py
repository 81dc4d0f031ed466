"""Accuracy, precision, recall, F1, likelihood and confusion of classes."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from kdjax.errors import UserError
from kdjax.metrics._labelled import labelled
from kdjax.metrics._scores import mean_over, ratio, scores
from kdjax.types import Array

# Of the sum whose name carries the k of top-k, which `result` is not given.
TOP = "correct_top"


def sums(
  student: Float[Array, "B K"],
  label: Int[Array, "B"],
  mask: Bool[Array, "B"],
  *,
  top_k: int = 5,
) -> dict[str, Array]:
  """What adds up over batches and devices.

  Args:
    student: logits. The first of equal largest ones is the prediction.
    label: the class; rows with -1 count nowhere.
    mask: rows with False count nowhere, whatever they hold.
    top_k: among how many of the largest logits the label's is looked for; at
      most K. Of equal ones the last are the larger, as scikit-learn's
      `top_k_accuracy_score` has it.

  Returns:
    count, correct: i32 [], rows and rightly predicted ones.
    correct_top<k>: i32 [], rows whose label is among the k largest.
    nll: f32 [], the sum of -log softmax(student)[label].
    confusion: i32 [K K], rows by true class (axis 0) and predicted (axis 1).
  """
  if top_k < 1:
    raise UserError(f"top_k is {top_k}.", "It must be 1 or more.")
  K = student.shape[1]
  top_k = min(top_k, K)
  counts, label, logits = labelled(student, label, mask)
  at = label[:, None]
  true = jnp.take_along_axis(jax.nn.log_softmax(logits), at, axis=1)
  own = jnp.take_along_axis(logits, at, axis=1)
  predicted = jnp.argmax(logits, axis=1)
  ones = counts.astype(jnp.int32)
  classes = jnp.arange(K)[None]
  # As a negation, so that of what is not a number nothing is right.
  behind = (logits < own) | ((logits == own) & (classes <= at))
  ahead = jnp.sum(~behind, axis=1)
  return {
    "count": jnp.sum(ones),
    "correct": jnp.sum(ones * (predicted == label)),
    f"{TOP}{top_k}": jnp.sum(ones * (ahead < top_k)),
    "nll": -jnp.sum(jnp.where(counts, true[:, 0], 0.0)),
    "confusion": jnp.zeros((K, K), jnp.int32).at[label, predicted].add(ones),
  }


def result(sums: dict[str, np.ndarray]) -> dict[str, float | np.ndarray]:
  """The metrics of all rows counted; nan where there was none.

  Equal to scikit-learn's with `zero_division=0`. As there, "macro" is over the
  classes that occur, as a label or as a prediction.

  Returns:
    accuracy: the share of rows whose prediction is the label.
    accuracy_top<k>: the share of rows whose label is among the k largest.
    balanced_accuracy: the mean recall of the classes that are a label.
    <precision, recall, f1>_<macro, weighted, micro>: over the classes, as
      `_scores` says; "micro" is the accuracy, for a row has one label.
    <precision, recall, f1>_per_class: [K]; 0 where a class has none.
    nll: mean negative log-likelihood, in nats.
    confusion: [K K], counts by true class (axis 0) and predicted (axis 1).
  """
  confusion = np.asarray(sums["confusion"])
  right, true = np.diagonal(confusion), confusion.sum(axis=1)
  predicted = confusion.sum(axis=0)
  count = float(sums["count"])
  mean = lambda key: float(sums[key]) / count if count else float("nan")
  return {
    "accuracy": mean("correct"),
    **{
      f"accuracy_{key.removeprefix('correct_')}": mean(key)
      for key in sums
      if key.startswith(TOP)
    },
    "balanced_accuracy": mean_over(true > 0, ratio(right, true)),
    **scores(right, predicted, true, true + predicted > 0),
    "nll": mean("nll"),
    "confusion": confusion,
  }
