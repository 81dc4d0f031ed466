"""Classes and data set of a run's predictions."""

from typing import Any

from kdjax import registry
from kdjax.config import fields
from kdjax.errors import UserError
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
