"""Recordings of measurements over time: read, resampled, cut into windows."""

import csv
import dataclasses
import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from kdjax.preprocess import sequences


@dataclasses.dataclass(frozen=True)
class Recording:
  """What one file holds.

  Attributes:
    values: of S steps and F channels; NaN where a cell is empty.
    stamp: the time of each step, ascending; None is not stated.
    labels: field -> the cell of each step, None where it is empty.
  """

  values: Float64[np.ndarray, "S F"]
  stamp: Float64[np.ndarray, "S"] | None = None
  labels: dict[str, list[str | None]] = dataclasses.field(default_factory=dict)


def read(
  cell: Any,
  fields: Sequence[str] = (),
  time: str = "",
  labels: Sequence[str] = (),
) -> Recording:
  """A recording; without channels, F = 0, if it lacks one of the fields.

  Args:
    cell: as of `sequences.read`; with a field, time or labels it is CSV with a
      header.
    fields: the columns of the channels, in order; () are all but time and
      labels.
    time: the column of times; "" is none. Steps are sorted by it.
    labels: columns with the class of each step.

  Raises:
    ValueError: it cannot be read, or has no column of times or labels.
  """
  if not (fields or time or labels):
    return Recording(sequences.read(cell).astype(np.float64))
  rows = _rows(cell)
  names = [name.strip() for name in rows[0]]
  for name in (time, *labels):
    if name and name not in names:
      raise ValueError(
        f"a recording without the column '{name}'; it has {', '.join(names)}"
      )
  lacks = not {*fields} <= {*names}
  fields = fields or [it for it in names if it not in (time, *labels)]
  column = {
    name: [row[place] for row in rows[1:]] for place, name in enumerate(names)
  }
  values = np.zeros((len(rows) - 1, 0))
  if not lacks:
    values = np.array([_numbers(column[name], name) for name in fields]).T
  found = {
    name: [cell.strip() or None for cell in column[name]] for name in labels
  }
  if not time:
    return Recording(values, None, found)
  stamp = np.array(_numbers(column[time], time))
  if np.isnan(stamp).any():
    raise ValueError(f"a recording with an empty cell of the time '{time}'")
  order = np.argsort(stamp, kind="stable")
  found = {name: [cells[it] for it in order] for name, cells in found.items()}
  return Recording(values[order], stamp[order], found)


def resampled(
  stamp: Float64[np.ndarray, "S"],
  values: Float64[np.ndarray, "S F"],
  times: Float64[np.ndarray, "T"],
  gap: float = 0.0,
) -> tuple[Float[np.ndarray, "T F"], Bool[np.ndarray, "T"]]:
  """Values at other times, and where they are known.

  A value is the mean of the line between measurements over one step of `times`
  around it, so that faster changes than these can hold are averaged out. Values
  of equal stamps are averaged; NaN is not measured.

  Args:
    stamp: ascending.
    values: of each stamp.
    times: equally spaced.
    gap: longer times between two measurements are not known; 0 is no limit.

  Returns:
    The values, 0 where they are not known: before the first measurement, after
    the last, and in gaps.
  """
  known = np.isfinite(values).all(axis=1)
  stamp, place = np.unique(stamp[known], return_inverse=True)
  there = np.zeros(len(times), bool)
  result = np.zeros((len(times), values.shape[1]))
  if not len(stamp):
    return result, there
  counts = np.bincount(place)
  mean = np.stack(
    [np.bincount(place, column) / counts for column in values[known].T], axis=1
  )
  there = (times >= stamp[0]) & (times <= stamp[-1])
  if gap:
    after = np.searchsorted(stamp, times, "left").clip(1, len(stamp) - 1)
    inside = (stamp[after - 1] < times) & (times < stamp[after])
    there &= ~(inside & (stamp[after] - stamp[after - 1] > gap))
  half = (times[1] - times[0]) / 2 if len(times) > 1 else 0.0
  low, high = (
    np.clip(times + side * half, stamp[0], stamp[-1]) for side in (-1, 1)
  )
  wide = np.maximum(high - low, np.finfo(float).tiny)
  for channel, column in enumerate(mean.T):
    line = np.interp(times, stamp, column)
    area = _integral(stamp, column, high) - _integral(stamp, column, low)
    result[:, channel] = np.where(high > low, area / wide, line)
  return np.where(there[:, None], result, 0.0), there


def starts(steps: int, window: int, step: int) -> Int[np.ndarray, "W"]:
  """The first steps of whole windows; none if there are fewer steps."""
  return np.arange(0, steps - window + 1, step)


def majority(
  labels: Int[np.ndarray, "S"], first: Int[np.ndarray, "W"], window: int
) -> tuple[Int[np.ndarray, "W"], Float[np.ndarray, "W"]]:
  """The commonest label of each window, and its share of the window.

  Args:
    labels: of each step; -1 is none, which does not count as a label.
    first: the first step of each window.
    window: steps of a window.

  Returns:
    The label, of several the smallest, and -1 where no step has one.
  """
  labels = labels.astype(np.int64)
  classes = np.arange(max(1, labels.max(initial=-1) + 1))
  before = np.cumsum(labels[:, None] == classes, axis=0)
  before = np.pad(before, ((1, 0), (0, 0)))
  counts = before[first + window] - before[first]
  most = counts.max(axis=1)
  label = np.where(most > 0, counts.argmax(axis=1), -1)
  return label.astype(np.int32), most / window


def _rows(cell: Any) -> list[list[str]]:
  """The lines of CSV with a header, all of one length."""
  raw = cell.read() if isinstance(cell, io.IOBase) else None
  if raw is None:
    if isinstance(cell, list):
      raise ValueError("a list, which has no names of columns")
    with open(cell, "rb") as file:
      raw = file.read()
  if raw.startswith(b"\x93NUMPY"):
    raise ValueError("an .npy file, which has no names of columns")
  try:
    lines = raw.decode("utf-8-sig").splitlines()
    rows = [row for row in csv.reader(lines, strict=True) if row]
  except (UnicodeDecodeError, csv.Error) as error:
    raise ValueError(f"not CSV: {error}") from None
  if len(rows) < 2:
    raise ValueError("a recording without a step")
  short = next((it for it in rows if len(it) != len(rows[0])), None)
  if short is not None:
    raise ValueError(
      f"a recording with a line of {len(short)} cells, where the header has"
      f" {len(rows[0])}"
    )
  return rows


def _numbers(cells: Sequence[str], name: str) -> list[float]:
  """Cells as numbers; NaN if empty."""
  numbers = []
  for line, cell in enumerate(cells, start=2):
    try:
      numbers.append(float(cell) if cell.strip() else math.nan)
    except ValueError:
      raise ValueError(
        f"a recording where column '{name}' has '{cell[:40]}' in line {line}"
      ) from None
  return numbers


def _integral(stamp, values, at):
  """The integral of the line through points from the first to each time."""
  steps = np.diff(stamp)
  areas = np.cumsum(steps * (values[1:] + values[:-1]) / 2)
  areas = np.concatenate([[0], areas])
  place = np.searchsorted(stamp, at, "right").clip(1, len(stamp)) - 1
  rest = at - stamp[place]
  ends = values[place] + np.interp(at, stamp, values)
  return areas[place] + rest * ends / 2
