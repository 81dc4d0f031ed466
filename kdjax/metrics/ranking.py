"""Ranking: ROC-AUC and average precision."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from kdjax.errors import ShapeError
from kdjax.metrics._class_scores import mean_over
from kdjax.metrics._masking import zero_masked
from kdjax.types import Array

# The metrics of which a lower value is better.
LOWER = ()


def rows(
  student: Float[Array, "B K"],
  label: Int[Array, "B"] | Int[Array, "B K"] | Bool[Array, "B K"],
  mask: Bool[Array, "B"],
) -> dict[str, Array]:
  """The collected values of each example.

  Args:
    student: logits.
    label: [B], the class, -1 if unlabelled; or, for multi-label data, [B K], 1
      or True, 0 or False, -1 if unknown.
    mask: True for valid rows; the values of other rows are ignored.

  Returns:
    student: f32 [B K].
    label: i32 [B] or [B K], -1 in masked rows.
  """
  B, K = student.shape
  if label.shape not in ((B,), (B, K)):
    raise ShapeError(
      f"For logits [{B}, {K}] the label is {list(label.shape)}.",
      f"Expected shape [{B}], or [{B}, {K}] for multi-label data.",
    )
  wide = mask if label.ndim == 1 else mask[:, None]
  return {
    "student": zero_masked(mask, student),
    "label": jnp.where(wide, label.astype(jnp.int32), -1),
  }


def result(rows: dict[str, np.ndarray]) -> dict[str, float | np.ndarray]:
  """The metrics of all rows; NaN where they are not defined.

  Each class is ranked one-vs-rest, by its logit for multi-label data, else by
  its softmax probability. Examples with equal scores share a rank. For two
  classes with one label, the averages are the values of class 1.

  Equal to scikit-learn's `roc_auc_score` and `average_precision_score` with
  average "macro". Classes without a value are left out of the mean: ROC-AUC
  needs positive and negative examples, the average precision of one label
  needs positive examples. For multi-label data the average precision of a class
  without positive examples is 0 and is in the mean.

  Args:
    rows: `student` [N K] and `label` [N] or [N K] of all valid rows.

  Returns:
    roc_auc, average_precision: averages over classes.
    roc_auc_per_class: [K], NaN where all or no examples have the class.
    average_precision_per_class: [K], 0 where no example has the class.
  """
  student = np.asarray(rows["student"], np.float64)
  label = np.asarray(rows["label"]).astype(np.int64)
  K = student.shape[1]
  single = label.ndim == 1
  if single:
    student, label = _log_odds(student[label >= 0]), label[label >= 0]
    label = (label[:, None] == np.arange(K)[None]).astype(np.int64)
  pairs = [
    _areas(student[known, k], label[known, k] > 0)
    for k, known in enumerate((label >= 0).T)
  ]
  roc, precision = np.array(pairs, np.float64).reshape(K, 2).T
  positive = np.any(label > 0, axis=0)
  if single and K == 2:
    averages = float(roc[1]), float(precision[1])
  else:
    # Selected by label, not by a finite value, so that the NaN of a diverged
    # student reaches the mean.
    both = positive & np.any(label == 0, axis=0)
    known = positive if single else np.any(label >= 0, axis=0)
    averages = mean_over(both, roc), mean_over(known, precision)
  return {
    "roc_auc": averages[0],
    "average_precision": averages[1],
    "roc_auc_per_class": roc,
    "average_precision_per_class": precision,
  }


def _log_odds(logits: np.ndarray) -> np.ndarray:
  """log p / (1 - p) of softmax probabilities: the same order, unsaturated.

  Rounded to float32, so that values that differ by rounding are equal.
  """
  if not logits.size:
    return logits
  shifted = logits - np.max(logits, axis=1, keepdims=True)
  powers = np.exp(shifted)
  first = np.argmax(logits, axis=1)[:, None]
  rest = powers.copy()
  np.put_along_axis(rest, first, 0.0, axis=1)
  # Summed without the largest power, because a difference would cancel.
  rest = np.sum(rest, axis=1, keepdims=True)
  others = 1.0 + rest - powers
  np.put_along_axis(others, first, rest, axis=1)
  with np.errstate(divide="ignore"):
    return (shifted - np.log(others)).astype(np.float32)


def _areas(score: np.ndarray, true: np.ndarray) -> tuple[float, float]:
  """(area under the ROC curve, average precision) of one class."""
  if not score.size or np.isnan(score).any():
    return np.nan, np.nan
  order = np.argsort(-score, kind="stable")
  score, hits = score[order], np.cumsum(true[order])
  # The curves have a point per distinct score, not per example.
  last = np.flatnonzero(np.append(score[1:] != score[:-1], True))
  hits, predicted = np.append(0, hits[last]), np.append(0, last + 1)
  misses = predicted - hits
  positive, negative = hits[-1], misses[-1]
  if not positive:
    return np.nan, 0.0
  steps = np.diff(hits)
  precision = float(np.sum(steps * hits[1:] / predicted[1:]) / positive)
  if not negative:
    return np.nan, precision
  area = np.sum(np.diff(misses) * (hits[1:] + hits[:-1])) / 2.0
  return float(area / (positive * negative)), precision
