"""Multi-label classification: precision, recall, F1, Hamming loss."""

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from kdjax.errors import UserError, same_shape
from kdjax.metrics._class_scores import precision_recall_f1
from kdjax.metrics._masking import zero_masked
from kdjax.types import Array

# The metrics of which a lower value is better.
LOWER = ("hamming_loss",)


def sums(
  student: Float[Array, "B K"],
  label: Int[Array, "B K"] | Bool[Array, "B K"],
  mask: Bool[Array, "B"],
  *,
  threshold: float = 0.5,
) -> dict[str, Array]:
  """Sums over a batch, to be added over batches and devices.

  Args:
    student: logits; a class is predicted where sigmoid(student) > threshold.
    label: per class, 1 or True if the example has it, 0 or False if not, -1 if
      unknown, which is ignored.
    mask: True for valid rows; the values of other rows are ignored.
    threshold: of the probability, between 0 and 1.

  Returns:
    tp, fp, fn, tn: i32 [K], true and false positives, false and true negatives
      of each class.
    count: i32 [], rows with at least one known class.
    exact: i32 [], rows with all known classes predicted correctly.
  """
  if not 0.0 < threshold < 1.0:
    raise UserError(
      f"threshold is {threshold}.", "Expected a value between 0 and 1."
    )
  same_shape(student=student, label=label)
  logits = zero_masked(mask, student)
  label = label.astype(jnp.int32)
  known = mask[:, None] & (label >= 0)
  predicted = logits > math.log(threshold / (1.0 - threshold))
  true = label > 0
  total = lambda which: jnp.sum(known & which, axis=0, dtype=jnp.int32)
  valid = jnp.any(known, axis=1)
  exact = valid & jnp.all(~known | (predicted == true), axis=1)
  return {
    "tp": total(predicted & true),
    "fp": total(predicted & ~true),
    "fn": total(~predicted & true),
    "tn": total(~predicted & ~true),
    "count": jnp.sum(valid, dtype=jnp.int32),
    "exact": jnp.sum(exact, dtype=jnp.int32),
  }


def result(sums: dict[str, np.ndarray]) -> dict[str, float | np.ndarray]:
  """The metrics, from the sums over all known entries; NaN without any.

  Equal to scikit-learn's for label indicators, with `zero_division=0`. A class
  without known entries is left out.

  Returns:
    subset_accuracy: the fraction of rows with all known classes correct.
    hamming_loss: the fraction of wrong entries.
    <precision, recall, f1>_<macro, weighted, micro>: averages over classes.
    <precision, recall, f1>_per_class: [K]; 0 where the denominator is 0.
    support_per_class: [K], the rows of each class.
  """
  tp, fp, fn, tn = (
    np.asarray(sums[key], np.float64) for key in ("tp", "fp", "fn", "tn")
  )
  known = tp + fp + fn + tn
  fraction = lambda part, whole: float(part) / whole if whole else float("nan")
  return {
    "subset_accuracy": fraction(sums["exact"], float(sums["count"])),
    "hamming_loss": fraction(np.sum(fp + fn), float(np.sum(known))),
    **precision_recall_f1(tp, tp + fp, tp + fn, known > 0),
  }
