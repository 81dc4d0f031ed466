"""Real examples of a stage's data: to compare, to measure, to calibrate."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from kdjax.stage.stage import Stage
from kdjax.students.inputs import names_of
from kdjax.students.signature import SIGMOID, SOFTMAX, Result, Signature


@dataclasses.dataclass(frozen=True)
class Examples:
  """Examples of a split.

  Attributes:
    inputs: an array for every name of every input.
    labels: result -> int [N] or [N K], -1 where unlabelled; float targets.
  """

  inputs: Mapping[str, np.ndarray]
  labels: Mapping[str, np.ndarray]

  def __len__(self) -> int:
    return len(next(iter(self.inputs.values())))

  def first(self, count: int) -> "Examples":
    """The first examples."""
    cut = lambda arrays: {key: x[:count] for key, x in arrays.items()}
    return Examples(cut(self.inputs), cut(self.labels))


def of(
  stage: Stage,
  signature: Signature,
  split: str,
  seed: int,
  most: int = 0,
) -> Examples:
  """The examples of a split, as the data set gives them.

  Args:
    stage: that has the data.
    signature: of the student.
    split: "train", "validation" or "test".
    seed: of the run.
    most: the largest number, evenly spread; 0 is all.
  """
  source = stage.dataset.load(split, seed, **stage.data_options)
  count = len(source)
  rows = np.arange(count)
  if most and count > most:
    rows = np.linspace(0, count - 1, most).astype(int)
  arrays = source.take(rows)
  valid = arrays.get("valid", np.ones(len(rows), bool))
  known = {key: x[valid] for key, x in arrays.items()}
  given = {}
  for it in signature.inputs:
    given |= {name: known[name] for name in names_of(it) if name in known}
    if not it.optional and f"has/{it.key}" in known:
      # The student cannot do without: examples that lack it say nothing.
      has = known[f"has/{it.key}"]
      known = {key: x[has] for key, x in known.items()}
      given = {key: x[has] for key, x in given.items()}
  labels = {
    it.name: known[key]
    for it in signature.results
    for key in (_label_key(it),)
    if key in known
  }
  return Examples(signature.batch(given), labels)


def _label_key(result: Result) -> str:
  """The key of the batch that a result predicts."""
  task = result.name.partition("/")[2]
  if task:
    return f"label/{task}"
  kinds = {SOFTMAX: "label", SIGMOID: "labels"}
  return kinds.get(result.kind, "target")


def score(
  result: Result, output: np.ndarray, label: np.ndarray
) -> tuple[str, float]:
  """The name and value of a result's quality; NaN without a label.

  Args:
    result: of the student.
    output: [N K] probabilities, or values.
    label: [N] classes, [N K] of several classes each, or targets.
  """
  if result.kind == SOFTMAX and label.ndim == 1:
    known = label >= 0
    right = output.argmax(axis=1)[known] == label[known]
    return "accuracy", float(right.mean()) if known.any() else float("nan")
  if result.kind == SOFTMAX or result.kind == SIGMOID:
    known = label >= 0
    right = ((output > 0.5) == (label == 1))[known]
    return "share right", float(right.mean()) if known.any() else float("nan")
  error = output.reshape(len(output), -1) - label.reshape(len(label), -1)
  return "RMSE", float(np.sqrt(np.mean(error.astype(np.float64) ** 2)))
