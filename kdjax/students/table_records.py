"""Rows of a table as records of a student, one after the other."""

import json
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kdjax.data import _cell_files as cell_files
from kdjax.data import _columns
from kdjax.errors import UserError
from kdjax.preprocess import tables
from kdjax.stage import build
from kdjax.students.inputs import NUMBERS, SEQUENCE, TEXT, Input
from kdjax.students.records import Record, shown
from kdjax.students.student import Student
from kdjax.training import workdir as workdirs

# Options of a manifest that say how its table is read.
_OF_TABLE = ("encoding", "separator", "quoting")


def records(
  student: Student,
  path: pathlib.Path,
  columns: Mapping[str, Sequence[str]],
  stated: Mapping[str, Sequence[str]],
  **options,
) -> Iterator[Record]:
  """A record of each row of a table; paths are below its folder.

  Args:
    student: to be called.
    path: CSV, TSV, JSONL or Parquet.
    columns: input -> columns of the table, if they exist; else those with the
      names of inputs.
    stated: the same, of columns that must exist.
    **options: of `tables.stream`.

  Raises:
    UserError: the table cannot be read, or lacks a column.
  """
  chosen = _chosen(student, path, columns, stated, options)
  folder = os.path.abspath(path.parent)
  names = {name for of_input in chosen.values() for name in of_input}
  inputs = {key: student.signature[key] for key in chosen}
  rows = tables.stream(path, needs=names.__contains__, **options)
  return (_of_row(row, chosen, inputs, folder) for row in rows)


def columns_of_run(
  workdir: str | pathlib.Path, stage: str, table: pathlib.Path
) -> tuple[dict[str, Sequence[str]], dict[str, str]]:
  """How a run's own table is read: {input: columns}, and options of `stream`.

  Both are empty of a run whose data set is no manifest; the options also for a
  table with another ending.

  Args:
    workdir: of the run.
    stage: of the student.
    table: that is to be read.
  """
  data = build.stage_config(workdirs.read_config(pathlib.Path(workdir)), stage)[
    "data"
  ]
  if data["name"] != "manifest":
    return {}, {}
  columns = _columns.parse(data.get("columns") or {})
  own = pathlib.Path(data.get("table", "manifest.csv")).suffixes
  same = own == table.suffixes
  options = {key: data[key] for key in _OF_TABLE if same and key in data}
  return {column.key: column.names for column in columns}, options


def _chosen(student, path, columns, stated, options) -> dict:
  """input -> its columns, of those that the table has."""
  exists = tables.columns(path, **options)
  readable = [it.key for it in student.readable()]
  for key, names in stated.items():
    if key not in readable:
      raise UserError(
        f"--columns: the student '{student.signature.name}' reads no '{key}'.",
        exists=readable,
        near=key,
      )
    for name in names:
      if name not in exists:
        raise UserError(
          f"The table '{path}' has no column '{name}'.",
          exists=exists,
          near=name,
        )
  chosen = {}
  for key in readable:
    for names in (stated.get(key), columns.get(key), (key,)):
      if names and {*names} <= {*exists}:
        chosen[key] = tuple(names)
        break
  missing = [
    it.key
    for it in student.signature.inputs
    if not it.optional and it.key not in chosen
  ]
  if missing or not chosen:
    key = [*missing, *readable][0]
    raise UserError(
      f"Which column of '{path}' is '{key}'?",
      f"State it, as in --columns={key}=column.",
      exists=exists,
    )
  return chosen


def _of_row(
  row: tables.Row,
  chosen: Mapping[str, Sequence[str]],
  inputs: Mapping[str, Input],
  folder: str,
) -> Record:
  """A record of a row of a table."""
  where: dict[str, Any] = {"line": row.line}
  values = {}
  names = {"", *(name for of_input in chosen.values() for name in of_input)}
  faults = [
    f"{column}: {reason}" if column else reason
    for column, reason in row.faults
    if column in names
  ]
  for key, columns in chosen.items():
    cells = [row.cells.get(name) for name in columns]
    plain = len(cells) == 1 and isinstance(cells[0], str | int | float)
    where[key] = shown(f"{cells[0]}") if plain else ""
    if faults or any(cell is None for cell in cells):
      continue
    try:
      values[key] = _value(inputs[key], cells, folder)
    except ValueError as error:
      faults.append(f"{error}")
  lacks = [key for key, it in inputs.items() if not it.optional]
  lacks = [key for key in lacks if key not in values]
  if not faults and lacks:
    faults.append(f"no {lacks[0]}: '{chosen[lacks[0]][0]}' is empty")
  return Record(where, values, "; ".join(faults))


def _value(it: Input, cells: Sequence[Any], folder: str) -> Any:
  """An input of a record from its cells, none of which is empty."""
  cell = cells[0]
  if it.kind == TEXT:
    return _columns.text(cell)
  if it.kind == NUMBERS:
    if len(cells) > 1:
      return [_columns.number(one) for one in cells]
    if not isinstance(cell, str | list):
      return _columns.number(cell)
    if isinstance(cell, str) and cell.lstrip().startswith("["):
      return _listed(cell)
    if isinstance(cell, str) and not cell.endswith(".npy"):
      return _columns.number(cell)
  if isinstance(cell, list) and it.kind in (NUMBERS, SEQUENCE):
    return cell
  return cell_files.open_cell(cell, folder, it.kind)[0]


def _listed(cell: str) -> list:
  try:
    return json.loads(cell)
  except ValueError:
    raise ValueError(f"{_columns.shown(cell)} is no list") from None
