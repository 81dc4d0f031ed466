"""Whole recordings of a manifest's records, all sequences on one clock."""

import dataclasses
import functools
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from kdjax.data import _cell_files as cell_files
from kdjax.data._columns import LABELS, Column
from kdjax.data._whole import Options, Whole
from kdjax.errors import UserError
from kdjax.preprocess import recordings


@dataclasses.dataclass
class Record:
  """One recording, of all its sequences, on one grid of steps.

  Attributes:
    steps: of the grid.
    values: key -> [steps F] and a mask [steps]; a key may be missing.
    labels: key -> the cell of each step.
  """

  steps: int = 0
  values: dict[str, tuple[np.ndarray, np.ndarray]] = dataclasses.field(
    default_factory=dict
  )
  labels: dict[str, list[Any]] = dataclasses.field(default_factory=dict)


def read(
  whole: Whole, chosen: Options, columns: list[Column]
) -> Iterator[Record | None]:
  """Every record's sequences; None of one that is broken."""
  for row in range(len(whole.rows)):
    name = columns[0].names[0]
    try:
      found = {}
      for column in columns:
        name = column.names[0]
        cell = whole.cells[column.key][row]
        if cell is not None:
          found[column.key] = _opened(whole, chosen, column, cell)
      record = _joined(chosen, columns, found)
      _check_features(whole, record)
    except ValueError as error:
      whole.add_fault(row, name, str(error))
    yield None if row in whole.faults else record


def _opened(
  whole: Whole, chosen: Options, column: Column, cell: Any
) -> recordings.Recording:
  """A recording, with the labels that other columns read from its file."""
  file, name, stamp = cell, "it", None
  folder = os.path.abspath(chosen.root)
  if not isinstance(cell, list):
    file, name = cell_files.open_cell(cell, folder, column.kind)
  if isinstance(cell, str):
    file = os.path.normpath(os.path.join(folder, cell))
    state = os.stat(file)
    stamp = (state.st_mtime_ns, state.st_size)
  option = lambda name: column.option(name, chosen)
  labels = [
    it.option("field", chosen)
    for it in stepwise(whole, chosen)
    if _holder(whole, it.names[0]) is column
  ]
  how = (option("fields"), option("time"), tuple(labels))
  try:
    return _kept(file, stamp, *how) if stamp else recordings.read(file, *how)
  except ValueError as error:
    raise ValueError(f"{name} is {error}") from error


@functools.lru_cache(maxsize=1024)
def _kept(file: str, stamp: tuple, *how: Any) -> recordings.Recording:
  """A file's recording, for all seeds, until it changes."""
  del stamp  # part of the cache's key
  return recordings.read(file, *how)


def stepwise(whole: Whole, chosen: Options) -> list[Column]:
  """The columns of labels that each step has."""
  found = []
  for column in whole.columns:
    if column.kind in LABELS and column.option("field", chosen):
      if _holder(whole, column.names[0]) is None:
        raise UserError(
          f"columns: '{column.key}' reads a field of '{column.names[0]}', of"
          " which no sequence is.",
          "Expected the column of a sequence.",
        )
      found.append(column)
  return found


def _holder(whole: Whole, name: str) -> Column | None:
  """The first sequence of a table's column, whose file has the labels."""
  for column in whole.columns:
    if column.kind == "sequence" and column.names[0] == name:
      return column
  return None


def _joined(
  chosen: Options,
  columns: list[Column],
  found: Mapping[str, recordings.Recording],
) -> Record:
  """The recordings of one record on one grid of steps.

  With a rate, it goes from the latest first time to the earliest last one.

  Raises:
    ValueError: there is a rate, and a recording without times or its own rate.
  """
  record = Record()
  if not found:
    return record
  stamps = {}
  for column in columns:
    if column.key in found:
      stamps[column.key] = _stamps(chosen, column, found[column.key])
  begin = max(it[0] for it in stamps.values())
  end = min(it[-1] for it in stamps.values())
  rate = chosen.rate or 1.0
  record.steps = max(0, int((end - begin) * rate + 1e-6) + 1)
  times = begin + np.arange(record.steps) / rate
  for column in columns:
    if column.key not in found:
      continue
    stamp, recording = stamps[column.key], found[column.key]
    if not recording.values.shape[1]:
      known = None  # it lacks a field
    elif chosen.rate:
      gap = column.option("gap", chosen)
      known = recordings.resampled(stamp, recording.values, times, gap)
    else:
      values = recording.values[: record.steps]
      finite = np.isfinite(values).all(axis=1)
      known = np.where(finite[:, None], values, 0.0), finite
    if known:
      record.values[column.key] = known
    at = np.searchsorted(stamp, times + 1e-9, "right") - 1
    for name, cells in recording.labels.items():
      record.labels[name] = [cells[it] for it in at]
  return record


def _stamps(
  chosen: Options, column: Column, recording: recordings.Recording
) -> np.ndarray:
  """The time of each step in seconds; without a rate, its number."""
  count = len(recording.values)
  if not chosen.rate:
    return np.arange(float(count))
  if recording.stamp is not None:
    return recording.stamp * column.option("time_unit", chosen)
  stored = column.option("stored_rate", chosen)
  if not stored:
    raise ValueError(
      f"of '{column.key}', which has no times; rate={chosen.rate} needs its"
      " option time='column', or stored_rate, its steps a second"
    )
  return np.arange(count) / stored


def _check_features(whole: Whole, record: Record) -> None:
  """Sets the number of channels of each key, or raises for another one."""
  for key, (values, _) in record.values.items():
    known = whole.features.setdefault(key, values.shape[1])
    if values.shape[1] != known:
      raise ValueError(
        f"a sequence of {values.shape[1]} features, where others have {known}"
      )
