"""Many CSVs of equal columns, each a recording of sensors.

  ann.csv, bob.csv              a file a person
  ann/1.csv, ann/2.csv          a folder a person
  ann/walk_1.csv, bob/walk.csv  the label is in the name

A line is a step: a time, numbers of sensors, and perhaps a label.
"""

import collections
import os
import pathlib
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from kdjax.data import _layout, _splits
from kdjax.errors import UserError
from kdjax.new import columns as known
from kdjax.preprocess import tables

# Fewer files, or shorter ones, are tables of records.
FILES, LINES = 3, 20
# Seconds of a window, as usual for activities; steps of one without times.
WINDOW, STEPS = 2.56, 128
# Windows of a recording, at least.
WINDOWS = 4

# A unit in the name of a column of times -> seconds.
UNITS = {"ms": 1e-3, "millis": 1e-3, "milliseconds": 1e-3, "us": 1e-6}
UNITS |= {"ns": 1e-9, "s": 1.0, "sec": 1.0, "seconds": 1.0}
TIMES = ("time", "timestamp", "timestamps", "t", "elapsed", *UNITS)

# What the letter before an axis stands for.
SENSORS = {"a": "acceleration", "g": "rotation", "m": "magnetic", "": "axes"}


class Sensors(NamedTuple):
  """Recordings of a folder as options of `manifest`.

  Attributes:
    options: of the data set.
    remarks: sentences on what was taken to be what.
  """

  options: dict[str, Any]
  remarks: tuple[str, ...]


def find(root: str) -> Sensors | None:
  """The recordings of a folder; None if it has none.

  Raises:
    UserError: they are recordings, and no label is in files or names.
  """
  if not os.path.isdir(root):
    return None
  paths = [path for path, _ in _layout.files(root) if path.endswith(".csv")]
  stems = [pathlib.PurePath(path).stem.lower() for path in paths]
  if len(paths) < FILES or any(map(_splits.named, stems)):
    return None
  first = tables.read(pathlib.Path(root, paths[0]))
  last = tables.read(pathlib.Path(root, paths[-1]))
  if first.columns != last.columns or len(first.rows) < LINES:
    return None
  found = [known.column_of(first, name) for name in first.columns]
  time = _time(found)
  sensors = _sensors(found, time)
  if not sensors:
    return None
  label = _label([first, last, *_some(root, paths)])
  table, group = _pattern(paths, in_names=not label)
  length = min(len(first.rows), len(last.rows))
  timing, remarks = _timing(time, length)
  own = timing.pop("own")
  columns = {
    key: {"column": "sequence:file", "fields": fields, **own}
    for key, fields in sensors.items()
  }
  if label:
    columns["label"] = {"column": "label:file", "field": label}
    timing["purity"] = 0.6
  else:
    columns["label"] = "label"
  options = {"root": root, "table": table, "columns": columns}
  if group:
    options["group_column"] = group
  return Sensors({**options, **timing}, tuple(remarks))


def _some(root: str, paths: Sequence[str]) -> list[tables.Table]:
  """A few more files, in which a label may differ."""
  chosen = paths[1 : -1 : max(1, len(paths) // 4)]
  return [tables.read(pathlib.Path(root, path)) for path in chosen]


def _time(found: Sequence[known.Column]) -> Any:
  """The column of times; None if there is none."""
  for column in found:
    words = known.words_of(column.name)
    increasing = known.are_numbers(column.cells or [""]) and bool(
      (np.diff(np.array(column.cells, float)) >= 0).all()
    )
    if increasing and {*words} & {*TIMES}:
      return column
  return None


def _sensors(
  found: Sequence[known.Column], time: Any
) -> dict[str, tuple[str, ...]]:
  """Sensor -> the columns of its axes: "acc" of acc_x, acc_y and acc_z."""
  groups: dict[str, list[str]] = {}
  for column in found:
    name = column.name
    numeric = column.kind in ("numbers", "category") and (
      known.are_numbers(column.cells)
    )
    words = known.words_of(name)
    answer = {*words} & {*known.ANSWERS, *known.IDENTITIES}
    if not numeric or column is time or answer or column.different < 2:
      continue
    match = re.fullmatch(r"(.*?)[ _.\-]?([xyz]|[XYZ])", name)
    stem = match[1].lower() if match else name
    key = known.key_of(SENSORS.get(stem, stem))
    groups.setdefault(key, []).append(name)
  return {key: tuple(names) for key, names in groups.items()}


def _label(read: Sequence[tables.Table]) -> str:
  """The column with a label for each step; "" if there is none."""
  for name in read[0].columns:
    cells = [
      str(row.cells[name])
      for table in read
      for row in table.rows
      if name in row.cells
    ]
    numbers = not cells or known.are_numbers(cells)
    named = {*known.words_of(name)} & {*known.ANSWERS}
    different = len({*cells})
    if 1 < different <= known.CLASSES and (named or not numbers):
      return name
  return ""


def _pattern(paths: Sequence[str], in_names: bool) -> tuple[str, str]:
  """The pattern of the files, and its field of the person.

  Args:
    paths: of the recordings.
    in_names: whether the label is in folders or names, and not in the files.

  Raises:
    UserError: it is in neither.
  """
  depths = {path.count("/") for path in paths}
  if len(depths) > 1 or max(depths) > 1:
    raise UserError(
      f"The {len(paths)} CSVs lie in folders of different depths.",
      "Expected a file or a folder a person.",
    )
  names = [re.match(r"[A-Za-z]+", pathlib.PurePath(it).stem) for it in paths]
  words = [match[0].lower() if match else "" for match in names]
  folders = [path.partition("/")[0] for path in paths] if max(depths) else []
  if not in_names:
    return (
      ("{person}/*.csv", "person") if folders else ("{person}.csv", "person")
    )
  several = {
    word for word, count in collections.Counter(words).items() if count > 1
  }
  if len({*words}) > 1 and {*words} == several:
    whole = all("".join(it.split("/")[-1:])[:-4].isalpha() for it in paths)
    name = "{label}.csv" if whole else "{label}_*.csv"
    return (f"{{person}}/{name}", "person") if folders else (name, "")
  if len({*folders}) > 1:
    return "{label}/*.csv", ""
  raise UserError(
    f"The {len(paths)} CSVs have equal columns of numbers, and no label:"
    " neither a column of words or classes, nor folders or names that repeat.",
    "Expected a column such as 'activity', or names such as ann/walk_1.csv.",
  )


def _timing(time: Any, length: int) -> tuple[dict[str, Any], list[str]]:
  """Options of the windows; "own" are those of each column."""
  if time is None:
    window = min(STEPS, max(8, length // WINDOWS))
    said = f"No column of times is known: windows are of {window} steps."
    return {"window": window, "step": window // 2, "own": {}}, [said]
  values = np.array(time.cells, float)
  gap = float(np.median(np.diff(values)))
  words = known.words_of(time.name)
  stated = [UNITS[word] for word in words if word in UNITS]
  unit = stated[0] if stated else (1e-3 if gap >= 1 else 1.0)
  rate = max(1.0, float(f"{1 / (max(gap, 1e-12) * unit):.2g}"))
  seconds = length * gap * unit
  window = min(WINDOW, max(8 / rate, seconds / WINDOWS))
  # A whole, even number of steps.
  steps = max(2, round(window * rate / 2) * 2)
  own = {"time": time.name, "time_unit": unit}
  said = f"The column '{time.name}' has times in units of {unit:g} s"
  said += "." if stated else ", by their distance: correct it if it is wrong."
  timing = {
    "rate": rate,
    "window": round(steps / rate, 4),
    "step": round(steps / 2 / rate, 4),
  }
  return {**timing, "own": own}, [said]
