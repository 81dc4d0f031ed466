"""A metric as a function of sums over test examples, from stored predictions.

  accuracy of seed s = (sum over examples n of weight n * right [s n]) / N

Weights are how often an example is drawn in a resample of the bootstrap.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse, special

Arrays = Mapping[str, np.ndarray]

# The metrics of averages over classes, as `kdjax/metrics/classification.py`
# has them.
MACRO = ("f1_macro", "precision_macro", "recall_macro", "balanced_accuracy")


@dataclasses.dataclass(frozen=True)
class Scores:
  """What the metric of a stage is computed from.

  Attributes:
    index: of the N examples that count in the metric.
    columns: of each seed [N C]: the values whose means over examples are read.
    reduce: [.. C] means -> [..] the metric.
  """

  index: Int[np.ndarray, "N"]
  columns: list[Any]
  reduce: Callable[[np.ndarray], np.ndarray]

  def metric(self) -> Float[np.ndarray, "S"]:
    """The metric of every seed, on all examples."""
    return self.resampled(np.ones((1, len(self.index)), np.float32))[:, 0]

  def resampled(
    self, weights: Float[np.ndarray, "R N"]
  ) -> Float[np.ndarray, "S R"]:
    """The metric of every seed on resampled examples.

    Args:
      weights: how often each resample has each example; N in all.
    """
    count = weights.shape[1]
    return np.stack(
      [self.reduce((one.T @ weights.T).T / count) for one in self.columns]
    )


def of(arrays: Arrays, metric: str) -> Scores | None:
  """The scores of a metric; None for a metric that is none of these.

  Args:
    arrays: of predictions.npz.
    metric: accuracy, nll and the averages over classes of single labels;
      subset_accuracy, hamming_loss and f1_micro of several labels; mse, rmse,
      mae and r2 of targets.
  """
  if {"index", "prediction", "target"} <= set(arrays):
    return _of_targets(arrays, metric)
  if not {"index", "label", "logits"} <= set(arrays):
    return None
  label, logits = arrays["label"], arrays["logits"]
  if logits.ndim != 3 or label.dtype.kind not in "iub":
    return None
  if label.ndim == 2 and label.shape == logits.shape[1:]:
    return _of_labels(arrays, metric)
  return _of_classes(arrays, metric) if label.ndim == 1 else None


def _mean(means: np.ndarray) -> np.ndarray:
  return means[..., 0]


def _of_classes(arrays: Arrays, metric: str) -> Scores | None:
  known = arrays["label"] >= 0
  index, label = arrays["index"][known], arrays["label"][known].astype(int)
  logits = arrays["logits"][:, known].astype(np.float64)
  if metric == "nll":
    log_p = special.log_softmax(logits, axis=-1)
    values = -log_p[:, np.arange(len(label)), label]
    return Scores(index, [it[:, None] for it in values], _mean)
  predicted = logits.argmax(-1)
  if metric == "accuracy":
    right = (predicted == label[None]).astype(np.float32)
    return Scores(index, [it[:, None] for it in right], _mean)
  if metric not in MACRO:
    return None
  K = logits.shape[-1]
  hot = lambda classes: sparse.csr_array(
    (np.ones(len(classes), np.float32), (np.arange(len(classes)), classes)),
    shape=(len(classes), K),
  )
  true = hot(label)
  columns = []
  for of_seed in predicted:
    guessed = hot(of_seed)
    counts = [true.multiply(guessed), guessed, true]
    columns.append(sparse.hstack(counts, format="csr"))
  return Scores(index, columns, lambda means: _macro(means, metric))


def _macro(means: np.ndarray, metric: str) -> np.ndarray:
  """An average over the classes that occur, from shares of the examples.

  Args:
    means: [.. 3K]: of each class the examples that are predicted correctly,
      those that are predicted as it, and those that are of it.
    metric: one of `MACRO`.
  """
  right, guessed, true = np.split(means, 3, axis=-1)
  whole = {
    "f1_macro": (true + guessed) / 2,
    "precision_macro": guessed,
    "recall_macro": true,
    "balanced_accuracy": true,
  }[metric]
  counted = true > 0
  if metric != "balanced_accuracy":
    counted |= guessed > 0
  ratio = np.divide(right, whole, out=np.zeros_like(right), where=whole > 0)
  return np.sum(ratio * counted, axis=-1) / np.sum(counted, axis=-1)


def _r2(means: np.ndarray) -> np.ndarray:
  """R2 from means of squared errors, of targets and of squared targets."""
  errors, targets, squares = np.split(means, 3, axis=-1)
  return (1 - errors / (squares - targets**2)).mean(axis=-1)


def _of_labels(arrays: Arrays, metric: str) -> Scores | None:
  known = arrays["label"] >= 0
  rows = known.any(axis=1)
  index, known = arrays["index"][rows], known[rows]
  predicted = arrays["logits"][:, rows] > 0
  true = arrays["label"][rows] > 0
  wrong = (predicted != true[None]) & known[None]
  if metric == "subset_accuracy":
    right = (~wrong.any(axis=-1)).astype(np.float32)
    return Scores(index, [it[:, None] for it in right], _mean)
  if metric == "hamming_loss":
    pairs = [
      np.stack([it.sum(axis=1), known.sum(axis=1)], axis=1).astype(np.float32)
      for it in wrong
    ]
    return Scores(index, pairs, lambda means: means[..., 0] / means[..., 1])
  if metric == "f1_micro":
    right = (predicted & true[None] & known[None]).sum(axis=-1)
    pairs = np.stack([2 * right, 2 * right + wrong.sum(axis=-1)], axis=-1)
    columns = list(pairs.astype(np.float32))
    return Scores(index, columns, lambda means: means[..., 0] / means[..., 1])
  return None


def _of_targets(arrays: Arrays, metric: str) -> Scores | None:
  prediction = arrays["prediction"].astype(np.float64)
  target = arrays["target"].astype(np.float64)
  seeds, count = prediction.shape[:2]
  error = prediction.reshape(seeds, count, -1) - target.reshape(1, count, -1)
  if metric == "mae":
    values, reduce = np.abs(error), lambda means: means.mean(axis=-1)
  elif metric == "mse":
    values, reduce = error**2, lambda means: means.mean(axis=-1)
  elif metric == "rmse":
    values, reduce = error**2, lambda means: np.sqrt(means).mean(axis=-1)
  elif metric == "r2":
    # Of centred targets: a variance loses no digits then.
    flat = target.reshape(1, count, -1)
    flat = np.broadcast_to(flat - flat.mean(axis=1, keepdims=True), error.shape)
    values, reduce = np.concatenate([error**2, flat, flat**2], axis=-1), _r2
  else:
    return None
  return Scores(arrays["index"], list(values), reduce)
