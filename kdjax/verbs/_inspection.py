"""What there is in a split of a data set: measured by reading all of it."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

# Records at once.
CHUNK = 256


@dataclasses.dataclass
class Summary:
  """A split, read from end to end.

  Attributes:
    size: its records.
    broken: those that count nowhere.
    labelled: those with a label.
    classes: i64 [K], the records of each class; empty where there are none.
    missing: modality -> records without it.
    lengths: text or audio -> the positions of each record that has it.
    values: key -> (least, most, mean, deviation) of its numbers.
    faults: of broken records, as a source lists them.
    shown: some records without a fault, for a picture.
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


def measure(source: Any, pictures: int = 0) -> Summary:
  """Reads every record of a source.

  Args:
    source: as a data set's `load` returns it.
    pictures: how many records to keep, evenly spread over the source.
  """
  found = Summary(len(source))
  wanted = np.unique(np.linspace(0, len(source) - 1, pictures).astype(int))
  moments: dict[str, _Moments] = {}
  lengths: dict[str, list[np.ndarray]] = {}
  for start in range(0, len(source), CHUNK):
    stop = min(start + CHUNK, len(source))
    batch = dict(source.take(np.arange(start, stop)))
    valid = np.asarray(batch.pop("valid", np.ones(stop - start, bool)))
    found.broken += int((~valid).sum())
    batch = {key: np.asarray(column)[valid] for key, column in batch.items()}
    _count(found, batch)
    for key, column in batch.items():
      there = batch.get(f"has/{key}", np.ones(len(column), bool))
      if _is_measured(key, batch):
        moments.setdefault(key, _Moments()).add(column[there])
      for length in _lengths(key, batch):
        lengths.setdefault(key, []).append(length[there])
    own = wanted[(wanted >= start) & (wanted < stop)] - start
    # Of what is broken, the next one that is not.
    for row in np.unique(np.searchsorted(np.flatnonzero(valid), own)):
      if row < valid.sum():
        found.shown.append({key: column[row] for key, column in batch.items()})
  found.lengths = {key: np.concatenate(one) for key, one in lengths.items()}
  found.values = {key: one.result() for key, one in moments.items()}
  if hasattr(source, "records"):
    found.faults = source.records()
  return found


class _Moments:
  """The least, the most, the mean and the deviation of what was added."""

  def __init__(self):
    self.least, self.most = np.inf, -np.inf
    self.count, self.sum, self.squares = 0, 0.0, 0.0

  def add(self, values: np.ndarray) -> None:
    """Adds all numbers of an array."""
    if not values.size:
      return
    values = values.astype(np.float64)
    self.least = min(self.least, float(values.min()))
    self.most = max(self.most, float(values.max()))
    self.count += values.size
    self.sum += float(values.sum())
    self.squares += float(np.square(values).sum())

  def result(self) -> tuple[float, float, float, float]:
    """Of nothing, none of them is a number."""
    if not self.count:
      return (np.nan,) * 4
    mean = self.sum / self.count
    variance = max(0.0, self.squares / self.count - mean**2)
    return self.least, self.most, mean, variance**0.5


def _count(found: Summary, batch: Mapping[str, np.ndarray]) -> None:
  """Adds a batch's labels and what it misses."""
  for key, column in batch.items():
    if key.startswith("has/"):
      name = key.removeprefix("has/")
      missing = int((~column).sum())
      found.missing[name] = found.missing.get(name, 0) + missing
  label = batch.get("label")
  if label is None:
    return
  if label.ndim == 2:
    given = label[(label >= 0).any(axis=1)] > 0
    counts, labelled = given.sum(axis=0), len(given)
  else:
    counts = np.bincount(label[label >= 0])
    labelled = int((label >= 0).sum())
  found.labelled += labelled
  size = max(len(found.classes), len(counts))
  found.classes = np.pad(found.classes, (0, size - len(found.classes)))
  found.classes[: len(counts)] += counts


def _is_measured(key: str, batch: Mapping[str, np.ndarray]) -> bool:
  """Whether a key's values are numbers of which a mean says something."""
  kind = batch[key].dtype.kind
  is_text = f"mask/{key}" in batch and kind == "i" and not _is_audio(key)
  return kind in "iuf" and key not in ("label", "index") and not is_text


def _is_audio(key: str) -> bool:
  return key.partition("@")[0] == "audio"


def _lengths(key: str, batch: Mapping[str, np.ndarray]) -> list[np.ndarray]:
  """The positions of each record, where its key has some."""
  if f"mask/{key}" in batch:
    return [batch[f"mask/{key}"].sum(axis=1)]
  column = batch[key]
  if _is_audio(key) and column.ndim == 2:
    # Zeros at the end are what pads it, unless a mask says otherwise.
    sounds = (column != 0)[:, ::-1]
    silent = np.where(
      sounds.any(axis=1), sounds.argmax(axis=1), column.shape[1]
    )
    return [column.shape[1] - silent]
  return []
