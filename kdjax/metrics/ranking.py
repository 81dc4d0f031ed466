"""How well the student's scores rank: ROC-AUC and average precision."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from kdjax.errors import ShapeError
from kdjax.metrics._labelled import shown
from kdjax.metrics._scores import mean_over
from kdjax.types import Array


def rows(
  student: Float[Array, "B K"],
  label: Int[Array, "B"] | Int[Array, "B K"] | Bool[Array, "B K"],
  mask: Bool[Array, "B"],
) -> dict[str, Array]:
  """What is kept of each example.

  Args:
    student: logits.
    label: the class, -1 where unlabelled; or, where an example may have
      several, one entry a class: 1 or True, 0 or False, -1 where unknown.
    mask: rows with False count nowhere, whatever they hold.

  Returns:
    student: f32 [B K].
    label: i32 [B] or [B K], -1 in rows that do not count.
  """
  B, K = student.shape
  if label.shape not in ((B,), (B, K)):
    raise ShapeError(
      f"For logits [{B}, {K}] the label is {list(label.shape)}.",
      f"It must be [{B}], or [{B}, {K}] where an example may have several.",
    )
  wide = mask if label.ndim == 1 else mask[:, None]
  return {
    "student": shown(mask, student),
    "label": jnp.where(wide, label.astype(jnp.int32), -1),
  }


def result(rows: dict[str, np.ndarray]) -> dict[str, float | np.ndarray]:
  """The metrics of all rows; nan where they say nothing.

  A class is ranked against all others (one-vs-rest) by its logit where an
  example may have several classes, else by its softmax probability. Examples
  of equal scores share their rank. Of two classes with one label, the single
  numbers are those of class 1.

  Equal to scikit-learn's `roc_auc_score` and `average_precision_score` with
  average "macro". Where those have no number for a class, the mean is over the
  other classes: for ROC-AUC those with and without examples, for the average
  precision of one label those with. With several labels the average precision
  of a class without examples is 0, and is averaged.

  Args:
    rows: `student` [N K] and `label` [N] or [N K], of the rows that count.

  Returns:
    roc_auc, average_precision: over the classes.
    roc_auc_per_class: [K], nan where all or no examples have the class.
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
  some = np.any(label > 0, axis=0)
  if single and K == 2:
    averages = float(roc[1]), float(precision[1])
  else:
    # Not those that are a number: a student that has diverged shows.
    both = some & np.any(label == 0, axis=0)
    known = some if single else np.any(label >= 0, axis=0)
    averages = mean_over(both, roc), mean_over(known, precision)
  return {
    "roc_auc": averages[0],
    "average_precision": averages[1],
    "roc_auc_per_class": roc,
    "average_precision_per_class": precision,
  }


def _log_odds(logits: np.ndarray) -> np.ndarray:
  """log p / (1 - p) of softmax probabilities: the same order, no saturation.

  In float32, so that what is equal but for rounding is equal.
  """
  if not logits.size:
    return logits
  shifted = logits - np.max(logits, axis=1, keepdims=True)
  powers = np.exp(shifted)
  first = np.argmax(logits, axis=1)[:, None]
  rest = powers.copy()
  np.put_along_axis(rest, first, 0.0, axis=1)
  # All but the largest: of what is left, a difference would have no digits.
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
  # The curves have a point for every score, not for every example.
  last = np.flatnonzero(np.append(score[1:] != score[:-1], True))
  hits, chosen = np.append(0, hits[last]), np.append(0, last + 1)
  misses = chosen - hits
  positive, negative = hits[-1], misses[-1]
  if not positive:
    return np.nan, 0.0
  steps = np.diff(hits)
  precision = float(np.sum(steps * hits[1:] / chosen[1:]) / positive)
  if not negative:
    return np.nan, precision
  area = np.sum(np.diff(misses) * (hits[1:] + hits[:-1])) / 2.0
  return float(area / (positive * negative)), precision
