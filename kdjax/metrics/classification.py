"""Classification: accuracy, precision, recall, F1, NLL, confusion matrix."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from kdjax.errors import UserError
from kdjax.metrics._class_scores import mean_over, precision_recall_f1, ratio
from kdjax.metrics._masking import mask_unlabelled
from kdjax.types import Array

# The metrics of which a lower value is better.
LOWER = ("nll",)

# Prefix of the sum of top-k accuracy; its name passes k on to `result`.
TOP = "correct_top"


def sums(
  student: Float[Array, "B K"],
  label: Int[Array, "B"],
  mask: Bool[Array, "B"],
  *,
  top_k: int = 5,
) -> dict[str, Array]:
  """Sums over a batch, to be added over batches and devices.

  Args:
    student: logits. The first of equal largest logits is the prediction.
    label: the class; rows with -1 are ignored.
    mask: True for valid rows; the values of other rows are ignored.
    top_k: k of the top-k accuracy; values above K are K. Of equal logits the
      last ranks first, as in scikit-learn's `top_k_accuracy_score`.

  Returns:
    count, correct: i32 [], rows and correctly predicted rows.
    correct_top<k>: i32 [], rows with the label among the k largest.
    nll: f32 [], the sum of -log softmax(student)[label].
    confusion: i32 [K K], rows by true class (axis 0) and predicted (axis 1).
  """
  if top_k < 1:
    raise UserError(f"top_k is {top_k}.", "Expected 1 or more.")
  K = student.shape[1]
  top_k = min(top_k, K)
  valid, label, logits = mask_unlabelled(student, label, mask)
  column = label[:, None]
  log_p = jnp.take_along_axis(jax.nn.log_softmax(logits), column, axis=1)
  target = jnp.take_along_axis(logits, column, axis=1)
  predicted = jnp.argmax(logits, axis=1)
  ones = valid.astype(jnp.int32)
  classes = jnp.arange(K)[None]
  # Negated, so that rows with NaN are counted as wrong.
  behind = (logits < target) | ((logits == target) & (classes <= column))
  ahead = jnp.sum(~behind, axis=1)
  return {
    "count": jnp.sum(ones),
    "correct": jnp.sum(ones * (predicted == label)),
    f"{TOP}{top_k}": jnp.sum(ones * (ahead < top_k)),
    "nll": -jnp.sum(jnp.where(valid, log_p[:, 0], 0.0)),
    "confusion": jnp.zeros((K, K), jnp.int32).at[label, predicted].add(ones),
  }


def result(sums: dict[str, np.ndarray]) -> dict[str, float | np.ndarray]:
  """The metrics, from the sums over all valid rows; NaN without any.

  Equal to scikit-learn's with `zero_division=0`. As there, "macro" is over
  classes that occur as a label or prediction.

  Returns:
    accuracy: the fraction of correctly predicted rows.
    accuracy_top<k>: the fraction of rows with the label among the k largest.
    balanced_accuracy: the mean recall over classes that occur as a label.
    <precision, recall, f1>_<macro, weighted, micro>: averages over classes;
      "micro" is the accuracy, because each row has one label.
    <precision, recall, f1>_per_class: [K]; 0 where the denominator is 0.
    support_per_class: [K], the rows of each class.
    nll: mean negative log-likelihood, in nats.
    confusion: [K K], counts by true class (axis 0) and predicted (axis 1).
  """
  confusion = np.asarray(sums["confusion"])
  correct, true = np.diagonal(confusion), confusion.sum(axis=1)
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
    "balanced_accuracy": mean_over(true > 0, ratio(correct, true)),
    **precision_recall_f1(correct, predicted, true, true + predicted > 0),
    "nll": mean("nll"),
    "confusion": confusion,
  }
