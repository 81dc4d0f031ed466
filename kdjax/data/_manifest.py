"""A manifest's table, read and checked as a whole."""

import functools
import json
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from kdjax.data import (
  _captions,
  _columns,
  _division,
  _labels,
  _layout,
  _splits,
  _windows,
)
from kdjax.data import _cell_files as cell_files
from kdjax.data._columns import FILES, Column
from kdjax.data._whole import Options, Whole
from kdjax.errors import UserError
from kdjax.preprocess import sequences, tables


def open_table(chosen: Options) -> Whole:
  """A table, cached for all splits until its files change."""
  if _layout.is_pattern(chosen.root, chosen.table):
    return _opened(chosen, _layout.matches(chosen.root, chosen.table))
  stamp = None
  if chosen.path.is_file():
    state = chosen.path.stat()
    stamp = (state.st_mtime_ns, state.st_size)
  return _opened(chosen, stamp)


def records(chosen: Options) -> tables.Table:
  """The records as they are in the table, or in all files of a pattern."""
  pattern = _layout.is_pattern(chosen.root, chosen.table)
  found = _layout.matches(chosen.root, chosen.table) if pattern else None
  return _read(chosen, found)


def _read(chosen: Options, stamp: Any) -> tables.Table:
  """The records of the table, or of the files that `stamp` has of a pattern."""
  options = {
    "encoding": chosen.encoding,
    "separator": chosen.separator,
    "quoting": chosen.quoting,
    "needs": _needs(chosen),
  }
  if _layout.is_pattern(chosen.root, chosen.table):
    return _layout.read(
      chosen.root, chosen.table, stamp, chosen.of_tables, **options
    )
  return tables.read(chosen.path, **options)


@functools.lru_cache(maxsize=8)
def _opened(chosen: Options, stamp: Any) -> Whole:
  """The table; `stamp` is what identifies its files' content."""
  table = _read(chosen, stamp)
  columns = _present(chosen, table)
  split = np.full(len(table.rows), "train", "<U10")
  whole = Whole(columns, table.rows, split, np.zeros(len(split), bool))
  for row, record in enumerate(table.rows):
    for column, reason in record.faults:
      whole.add_fault(row, column, reason)
  _division.divide(whole, chosen, table)
  for column in columns:
    if column.kind in FILES:
      whole.cells[column.key] = whole.column(column.names[0])
      present = [cell is not None for cell in whole.cells[column.key]]
      whole.values[f"has/{column.key}"] = np.array(present, bool)
      if column.kind == "sequence" and not chosen.window:
        whole.features[column.key] = _features(whole, chosen, column)
    elif column.option("field", chosen):
      continue  # of each step, in the files
    elif column.kind in _columns.LABELS:
      _read_labels(whole, chosen, column, table)
    elif column.kind in ("numbers", "target"):
      _read_numbers(whole, chosen, column)
  _captions.read(whole, chosen)
  return _windows.cut(whole, chosen)


def _needs(chosen: Options) -> Callable[[str], bool]:
  """Whether a column of the table is read, or may state the splits."""
  if chosen.columns is None:
    return lambda _: True
  names = {name for column in chosen.columns for name in column.names}
  names |= {chosen.record_key, chosen.group_column, chosen.split_column}
  drawn = chosen.split_column != "split"
  return lambda name: name in names or (not drawn and _splits.is_column(name))


def _present(chosen: Options, table: tables.Table) -> tuple[Column, ...]:
  """The columns to read, each checked to be in the table."""
  if chosen.columns is None:
    known = [name for name in table.columns if name in _columns.KINDS]
    files = [row.cells.get(_layout.FILE) for row in table.rows if row.file]
    kinds = {_layout.kind_of(file) for file in files if isinstance(file, str)}
    if chosen.of_tables or not files:
      kinds = set()
    if len(kinds) > 1:
      raise UserError(
        f"Files of '{chosen.path}' are of several kinds: {', '.join(kinds)}.",
        "State their ending, as in table='{label}/*.jpg'.",
      )
    if not known and not kinds:
      raise UserError(
        f"Which columns of '{chosen.path}'? None is called"
        f" {', '.join(_columns.KINDS[:-1])} or {_columns.KINDS[-1]}.",
        "Set columns={key: column} or {key: 'kind:column'}.",
        exists=table.columns,
      )
    columns = _columns.parse(
      {
        "label" if name == "labels" else name: f"{name}:{name}"
        for name in known
      }
      | {kind: f"{kind}:{_layout.FILE}" for kind in kinds}
    )
  else:
    columns = chosen.columns
  required = [name for column in columns for name in column.names]
  required += [it for it in (chosen.record_key, chosen.group_column) if it]
  if chosen.split_column not in ("", "split"):
    required.append(chosen.split_column)
  for name in required:
    if name not in table.columns:
      raise UserError(
        f"The table '{chosen.path}' has no column '{name}'.",
        exists=table.columns,
        near=name,
      )
  return columns


def _read_labels(
  whole: Whole, chosen: Options, column: Column, table: tables.Table
) -> None:
  several = column.kind == "labels"
  (name,) = column.names
  cells = whole.column(name)
  hot = _labels.hot_size(cells) if several else 0
  own = column.option("classes", chosen)
  stated = own or table.classes.get(name, ())
  names = tuple(stated) or tuple(map(str, range(hot)))
  if not names:
    # Those of records whose split the table states do not train, and count not.
    names = _labels.classes_of(
      (
        cell
        for cell, apart in zip(cells, whole.stated, strict=True)
        if cell is not None and not apart
      ),
      several,
    )
  whole.classes[column.key] = names
  classes = _labels.Classes(
    names,
    bool(stated),
    "`classes` names all"
    if own
    else "no training record has it; `classes` would name all",
  )
  if several:
    read = lambda cell: classes.labels(cell, bool(hot))
    empty = np.full(len(names), -1, np.int32)
  else:
    read, empty = classes.label, -1
  shape = (len(whole.rows), *np.shape(empty))
  labels = np.array(whole.checked(name, read, empty), np.int32)
  whole.values[column.key] = labels.reshape(shape)
  changed = {} if several else _labels.changed(cells)
  if changed:
    cell, label = next(iter(changed.items()))
    whole.remarks.append(
      f"Column '{name}': {len(changed)} spellings of classes are read as"
      f" others, such as {_columns.shown(cell)} as '{label}'."
    )


def _features(whole: Whole, chosen: Options, column: Column) -> int:
  """Numbers of a step: those of the first sequence that can be read."""
  for cell in whole.cells[column.key]:
    try:
      if isinstance(cell, list):
        return sequences.read(cell).shape[1]
      if cell is not None:
        file, _ = cell_files.open_cell(cell, _folder(chosen), column.kind)
        return sequences.read(file).shape[1]
    except ValueError:
      continue  # a fault when it is decoded
  return 1


def _folder(chosen: Options) -> str:
  return os.path.abspath(chosen.root)


def _read_numbers(whole: Whole, chosen: Options, column: Column) -> None:
  """Reads numbers; a record lacks all of them if it lacks one."""
  if len(column.names) == 1:
    values = _vectors(whole, chosen, column)
  else:
    read = [
      np.array(whole.checked(name, _columns.number, np.nan), np.float64)
      for name in column.names
    ]
    values = np.stack(read, axis=-1)
  present = np.isfinite(values).all(axis=-1)
  values = np.where(present[:, None], values, 0).astype(np.float32)
  cells = whole.column(column.names[0])
  lists = any(_is_vector(it) for it in cells)
  scalar = column.kind == "target" and len(column.names) == 1 and not lists
  whole.values[column.key] = values[:, 0] if scalar else values
  whole.values[f"has/{column.key}"] = present


def _is_vector(cell: Any) -> bool:
  """Whether a cell of numbers is a list, or the path of an array."""
  return isinstance(cell, list) or (
    isinstance(cell, str)
    and (cell.endswith(".npy") or cell.lstrip().startswith("["))
  )


def _vectors(whole: Whole, chosen: Options, column: Column) -> np.ndarray:
  """A column of numbers, or of lists of D numbers: f64 [M, D]."""
  (name,) = column.names

  def read(cell: Any) -> np.ndarray:
    if not _is_vector(cell):
      return np.array([_columns.number(cell)])
    if isinstance(cell, str) and not cell.endswith(".npy"):
      try:
        cell = json.loads(cell)
      except ValueError:
        raise ValueError(f"{_columns.shown(cell)} is no list") from None
    if isinstance(cell, str):
      cell, _ = cell_files.open_cell(cell, _folder(chosen), column.kind)
    return sequences.vector(cell)

  vectors = whole.checked(name, read, None)
  sizes = [len(it) for it in vectors if it is not None]
  usual = max({*sizes}, key=sizes.count, default=1)
  values = np.full((len(vectors), usual), np.nan)
  for row, vector in enumerate(vectors):
    if vector is not None and len(vector) != usual:
      whole.add_fault(
        row, name, f"{len(vector)} numbers where others have {usual}"
      )
    elif vector is not None:
      values[row] = vector
  return values
