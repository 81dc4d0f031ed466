"""Statistics of a split: counts, classes, lengths and values of its records."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

# Records that are read at once.
CHUNK = 256


@dataclasses.dataclass
class Summary:
  """Statistics of all records of a split.

  Attributes:
    size: the number of records.
    broken: the number of broken records; no other number counts them.
    labelled: the number of records with a label.
    classes: i64 [K], the number of records of each class; empty without labels.
    missing: modality -> the number of records without it.
    lengths: text or audio key -> the length of each record that has it.
    values: key -> (minimum, maximum, mean, deviation) of its numbers.
    faults: the faults of broken records, as the source lists them.
    shown: some valid records, for a contact sheet.
  """

  size: int
  broken: int = 0
  labelled: int = 0
  classes: np.ndarray = dataclasses.field(
    default_factory=lambda: np.zeros(0, np.int64)
  )
  missing: dict[str, int] = dataclasses.field(default_factory=dict)
  lengths: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
  values: dict[str, tuple] = dataclasses.field(default_factory=dict)
  faults: list[Any] = dataclasses.field(default_factory=list)
  shown: list[dict[str, np.ndarray]] = dataclasses.field(default_factory=list)

  def counts_as_labels(self) -> np.ndarray:
    """The classes that have an example: i64, each once."""
    return np.flatnonzero(self.classes)


def measure(
  source: Any, shown: int = 0, counted: Callable[[int], Any] = lambda done: None
) -> Summary:
  """Reads every record of a source.

  Args:
    source: from `load` of a data set.
    shown: how many records to keep in `Summary.shown`, evenly spaced.
    counted: is called with the number of records that were read.
  """
  summary = Summary(len(source))
  selected = np.unique(np.linspace(0, len(source) - 1, shown).astype(int))
  moments: dict[str, _Moments] = {}
  lengths: dict[str, list[np.ndarray]] = {}
  for start in range(0, len(source), CHUNK):
    stop = min(start + CHUNK, len(source))
    batch = dict(source.take(np.arange(start, stop)))
    valid = np.asarray(batch.pop("valid", np.ones(stop - start, bool)))
    summary.broken += int((~valid).sum())
    batch = {key: np.asarray(column)[valid] for key, column in batch.items()}
    _count(summary, batch)
    for key, column in batch.items():
      present = batch.get(f"has/{key}", np.ones(len(column), bool))
      if _is_numeric(key, batch):
        moments.setdefault(key, _Moments()).add(column[present])
      for length in _lengths(key, batch):
        lengths.setdefault(key, []).append(length[present])
    in_chunk = selected[(selected >= start) & (selected < stop)] - start
    # In place of a broken record, the next valid one.
    for row in np.unique(np.searchsorted(np.flatnonzero(valid), in_chunk)):
      if row < valid.sum():
        record = {key: column[row] for key, column in batch.items()}
        summary.shown.append(record)
    counted(stop)
  summary.lengths = {key: np.concatenate(it) for key, it in lengths.items()}
  summary.values = {key: it.result() for key, it in moments.items()}
  if hasattr(source, "records"):
    summary.faults = source.records()
  return summary


class _Moments:
  """Running minimum, maximum, mean and deviation."""

  def __init__(self):
    self.minimum, self.maximum = np.inf, -np.inf
    self.count, self.sum, self.squares = 0, 0.0, 0.0

  def add(self, values: np.ndarray) -> None:
    """Adds all numbers of an array."""
    if not values.size:
      return
    values = values.astype(np.float64)
    self.minimum = min(self.minimum, float(values.min()))
    self.maximum = max(self.maximum, float(values.max()))
    self.count += values.size
    self.sum += float(values.sum())
    self.squares += float(np.square(values).sum())

  def result(self) -> tuple[float, float, float, float]:
    """Minimum, maximum, mean and deviation; NaN without values."""
    if not self.count:
      return (np.nan,) * 4
    mean = self.sum / self.count
    variance = max(0.0, self.squares / self.count - mean**2)
    return self.minimum, self.maximum, mean, variance**0.5


def _count(summary: Summary, batch: Mapping[str, np.ndarray]) -> None:
  """Adds the labels and the missing modalities of a batch."""
  for key, column in batch.items():
    if key.startswith("has/"):
      name = key.removeprefix("has/")
      missing = int((~column).sum())
      summary.missing[name] = summary.missing.get(name, 0) + missing
  label = batch.get("label")
  if label is None:
    return
  if label.ndim == 2:
    positive = label[(label >= 0).any(axis=1)] > 0
    counts, labelled = positive.sum(axis=0), len(positive)
  else:
    counts = np.bincount(label[label >= 0])
    labelled = int((label >= 0).sum())
  summary.labelled += labelled
  size = max(len(summary.classes), len(counts))
  summary.classes = np.pad(summary.classes, (0, size - len(summary.classes)))
  summary.classes[: len(counts)] += counts


def _is_numeric(key: str, batch: Mapping[str, np.ndarray]) -> bool:
  """Whether the mean of a key's values is meaningful."""
  kind = batch[key].dtype.kind
  is_text = f"mask/{key}" in batch and kind == "i" and not _is_audio(key)
  named = key in ("index", "group") or key.partition("/")[0] == "label"
  return kind in "iuf" and not named and not is_text


def _is_audio(key: str) -> bool:
  return key.partition("@")[0] == "audio"


def _lengths(key: str, batch: Mapping[str, np.ndarray]) -> list[np.ndarray]:
  """A list of the array of all records' lengths; [] without a length."""
  if f"mask/{key}" in batch:
    return [batch[f"mask/{key}"].sum(axis=1)]
  column = batch[key]
  if _is_audio(key) and column.ndim == 2:
    # Without a mask, zeros at the end are padding.
    sounds = (column != 0)[:, ::-1]
    silent = np.where(
      sounds.any(axis=1), sounds.argmax(axis=1), column.shape[1]
    )
    return [column.shape[1] - silent]
  return []
