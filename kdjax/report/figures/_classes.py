"""Classes and data set of a run's predictions."""

from typing import Any

import numpy as np
from jaxtyping import Float

from kdjax import registry
from kdjax.config import fields
from kdjax.errors import UserError
from kdjax.report.document import AbsentError
from kdjax.report.records import Predictions, Record


def class_names(record: Record, classes: int) -> list[str]:
  """The names of the classes, or their numbers if the data set has no names."""
  name, options = data_options(record)
  try:
    names = registry.find("data", name).class_names(**options)
  except (UserError, ImportError, AttributeError):
    # A data set from outside the package may be missing on this machine.
    names = ()
  return [*names] if len(names) == classes else [*map(str, range(classes))]


def data_options(
  record: Record, stage: str | None = None
) -> tuple[str, dict[str, Any]]:
  """The name and options of the data set of a run, or of one of its stages."""
  options = dict(record.config["data"])
  if stage is not None:
    options |= record.config["stages"][stage]["data"]
  # JSON has lists where a config has tuples.
  return options["name"], {
    key: tuple(value) if isinstance(value, list) else value
    for key, value in options.items()
    # Keys that kdjax reads itself are no options of the data set.
    if key not in fields.RESERVED["data"]
  }


def has_classes(predictions: Predictions) -> bool:
  """Whether predictions are class scores, and some examples have labels."""
  logits, label = predictions.logits, predictions.label
  scores = logits.ndim == 3 and logits.shape[-1] > 1
  whole = label.ndim == 1 and label.dtype.kind in "iu"
  return bool(scores and whole and (label >= 0).any())


def classified(record: Record) -> dict[str, Predictions]:
  """The predictions of the stages that predict classes."""
  found = {stage: record.predictions(stage) for stage in record.results}
  return {
    stage: it
    for stage, it in found.items()
    if it is not None and has_classes(it)
  }


def compared(record: Record) -> tuple[str, str, Predictions, Predictions]:
  """The first gain between two classifiers of the same examples.

  Returns:
    The better and the worse stage, and the predictions of both.

  Raises:
    AbsentError: no gain is between two such stages.
  """
  for better, worse in record.config["gains"]:
    new, old = record.predictions(better), record.predictions(worse)
    if new is None or old is None or not has_classes(new):
      continue
    same = np.array_equal(new.index, old.index)
    if same and new.logits.shape[1:] == old.logits.shape[1:]:
      return better, worse, new, old
  raise AbsentError


def probabilities(logits: Float[np.ndarray, "S N K"]) -> np.ndarray:
  """The softmax of logits over the classes, in float64."""
  logits = np.asarray(logits, np.float64)
  odds = np.exp(logits - logits.max(-1, keepdims=True))
  return odds / odds.sum(-1, keepdims=True)
