"""Real examples of a stage's data: to compare, to measure, to calibrate."""

import dataclasses
from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np

from kdjax.metrics import captions
from kdjax.stage.stage import Stage
from kdjax.students.gallery import OtherSide
from kdjax.students.inputs import names_of
from kdjax.students.signature import VALUE, WRITTEN, Result, Signature


@dataclasses.dataclass(frozen=True)
class Examples:
  """Examples of a split.

  Attributes:
    inputs: an array for every name of every input.
    labels: result -> int [N] or [N K], -1 where unlabelled; float targets; ids
      of texts [N T] or [N K T].
    others: of a student of retrieval, the other side, see `OtherSide.rows`.
    side: that computed it.
  """

  inputs: Mapping[str, np.ndarray]
  labels: Mapping[str, np.ndarray]
  others: Mapping[str, np.ndarray] | None = None
  side: OtherSide | None = None

  def __len__(self) -> int:
    return len(next(iter(self.inputs.values())))


def of(
  stage: Stage,
  signature: Signature,
  split: str,
  seed: int,
  most: int = 0,
  side: OtherSide | None = None,
) -> Examples:
  """The examples of a split, as the data set gives them.

  Args:
    stage: that has the data.
    signature: of the student.
    split: "train", "validation" or "test".
    seed: of the run.
    most: the largest number, evenly spread; 0 is all.
    side: of a student of retrieval, what its embeddings are compared with.
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
    it.name: known[it.label] for it in signature.results if it.label in known
  }
  others = side.rows(known) if side else None
  return Examples(signature.batch(given), labels, others, side)


def score(
  result: Result, output: np.ndarray, label: np.ndarray
) -> tuple[str, float]:
  """The name and value of a result's quality; NaN without a label.

  Args:
    result: of the student.
    output: [N K] probabilities, values, or ids [N L] of texts.
    label: [N] classes, [N K] of several classes each, targets, or ids.
  """
  if result.kind == VALUE:
    error = output.reshape(len(output), -1) - label.reshape(len(label), -1)
    return "RMSE", float(np.sqrt(np.mean(error.astype(np.float64) ** 2)))
  if result.kind == WRITTEN:
    mask = np.ones(len(output), bool)
    rows = captions.rows(*map(jnp.asarray, (output, label, mask)))
    kept = {name: np.asarray(x) for name, x in rows.items()}
    return "CIDEr-D", float(captions.result(kept)["cider_d"])
  known = label >= 0
  of_one = label.ndim == 1
  right = (
    output.argmax(1) == label if of_one else (output > 0.5) == (label == 1)
  )
  value = float(right[known].mean()) if known.any() else float("nan")
  return "accuracy" if of_one else "share right", value
