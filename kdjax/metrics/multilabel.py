"""Precision, recall and F1 of classes of which an example may have several."""

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from kdjax.errors import UserError, same_shape
from kdjax.metrics._labelled import shown
from kdjax.metrics._scores import scores
from kdjax.types import Array


def sums(
  student: Float[Array, "B K"],
  label: Int[Array, "B K"] | Bool[Array, "B K"],
  mask: Bool[Array, "B"],
  *,
  threshold: float = 0.5,
) -> dict[str, Array]:
  """What adds up over batches and devices.

  Args:
    student: logits; a class is predicted where sigmoid(student) > threshold.
    label: of every class, 1 or True where the example has it, 0 or False where
      not, -1 where that is unknown: it counts nowhere.
    mask: rows with False count nowhere, whatever they hold.
    threshold: of the probability, between 0 and 1.

  Returns:
    tp, fp, fn, tn: i32 [K], entries by class that are rightly and wrongly
      predicted, wrongly and rightly not.
    count: i32 [], rows of which a class is known.
    exact: i32 [], of these the rows whose known classes are all right.
  """
  if not 0.0 < threshold < 1.0:
    raise UserError(f"threshold is {threshold}.", "It is between 0 and 1.")
  same_shape(student=student, label=label)
  logits = shown(mask, student)
  label = label.astype(jnp.int32)
  known = mask[:, None] & (label >= 0)
  predicted = logits > math.log(threshold / (1.0 - threshold))
  true = label > 0
  total = lambda which: jnp.sum(known & which, axis=0, dtype=jnp.int32)
  counts = jnp.any(known, axis=1)
  exact = counts & jnp.all(~known | (predicted == true), axis=1)
  return {
    "tp": total(predicted & true),
    "fp": total(predicted & ~true),
    "fn": total(~predicted & true),
    "tn": total(~predicted & ~true),
    "count": jnp.sum(counts, dtype=jnp.int32),
    "exact": jnp.sum(exact, dtype=jnp.int32),
  }


def result(sums: dict[str, np.ndarray]) -> dict[str, float | np.ndarray]:
  """The metrics of all entries counted; nan where there was none.

  Equal to scikit-learn's of label indicators, with `zero_division=0`; a class
  of which nothing is known is left out.

  Returns:
    subset_accuracy: the share of rows whose known classes are all right.
    hamming_loss: the share of wrong entries.
    <precision, recall, f1>_<macro, weighted, micro>: over the classes, as
      `_scores` says.
    <precision, recall, f1>_per_class: [K]; 0 where a class has none.
  """
  tp, fp, fn, tn = (
    np.asarray(sums[key], np.float64) for key in ("tp", "fp", "fn", "tn")
  )
  known = tp + fp + fn + tn
  share = lambda part, whole: float(part) / whole if whole else float("nan")
  return {
    "subset_accuracy": share(sums["exact"], float(sums["count"])),
    "hamming_loss": share(np.sum(fp + fn), float(np.sum(known))),
    **scores(tp, tp + fp, tp + fn, known > 0),
  }
