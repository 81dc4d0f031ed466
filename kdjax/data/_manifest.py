"""A manifest's table, read and checked as a whole."""

import dataclasses
import functools
import pathlib
from typing import Any

import numpy as np

from kdjax.data import _columns, _splits
from kdjax.data._columns import Column
from kdjax.errors import UserError
from kdjax.preprocess import tables, tokenizer

# Kinds of columns whose cells are paths; the files are opened on use.
FILES = ("image", "audio")


@dataclasses.dataclass(frozen=True)
class Options:
  """The options of `manifest.load`, described there."""

  root: str
  table: str
  columns: tuple[Column, ...] | None
  record_key: str
  split_column: str
  validation: float
  test: float
  classes: tuple[str, ...]
  image_size: tuple[int, int]
  channels: int
  fit: str
  sample_rate: int
  seconds: float
  tokenizer: str
  vocabulary_size: int
  length: int
  encoding: str

  @property
  def path(self) -> pathlib.Path:
    """The table's path."""
    return pathlib.Path(self.root) / self.table


@dataclasses.dataclass
class Whole:
  """All M records of a table.

  Attributes:
    columns: keys of the batch and the table's columns they are read from.
    rows: the records as they were read.
    split: str [M].
    classes: the names of the classes.
    values: key -> [M ...], for kinds that are not files.
    cells: key -> M cells, for kinds that are files; None if a cell is empty.
    faults: row number -> (column, reason) pairs.
    ids: vocabulary size, shared by all text columns.
    texts: all that the ids of a text depend on; "" without texts.
  """

  columns: tuple[Column, ...]
  rows: tuple[tables.Row, ...]
  split: np.ndarray
  classes: tuple[str, ...] = ()
  values: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
  cells: dict[str, list[Any]] = dataclasses.field(default_factory=dict)
  faults: dict[int, list[tuple[str, str]]] = dataclasses.field(
    default_factory=dict
  )
  ids: int = 0
  texts: str = ""

  def column(self, name: str) -> list[Any]:
    """The cells of a column; None if a cell is empty."""
    return [row.cells.get(name) for row in self.rows]

  def add_fault(self, row: int, column: str, reason: str) -> None:
    """Records what is wrong with a cell."""
    self.faults.setdefault(row, []).append((column, reason))

  def has_fault(self, row: int, column: str) -> bool:
    """Whether a cell, or its whole record, has a recorded fault."""
    return bool({"", column} & {*dict(self.faults.get(row, ()))})

  def checked(self, name: str, read, empty: Any) -> list[Any]:
    """A column's cells through `read`, which raises ValueError for a fault."""
    values = []
    for row, cell in enumerate(self.column(name)):
      value = empty
      if cell is not None:
        try:
          value = read(cell)
        except ValueError as error:
          self.add_fault(row, name, str(error))
      values.append(value)
    return values


def open_table(chosen: Options) -> Whole:
  """A table, cached for all splits until its file changes."""
  stamp = None
  if chosen.path.is_file():
    state = chosen.path.stat()
    stamp = (state.st_mtime_ns, state.st_size)
  return _opened(chosen, stamp)


@functools.lru_cache(maxsize=2)
def _opened(chosen: Options, stamp: tuple[int, int] | None) -> Whole:
  del stamp  # part of the cache's key
  table = tables.read(chosen.path, chosen.encoding)
  columns = _present(chosen, table)
  split = np.full(len(table.rows), "train", "<U10")
  whole = Whole(columns, table.rows, split)
  for row, record in enumerate(table.rows):
    for column, reason in record.faults:
      whole.add_fault(row, column, reason)
  _divide(whole, chosen, table)
  for column in columns:
    if column.kind in FILES:
      whole.cells[column.key] = whole.column(column.names[0])
      present = [cell is not None for cell in whole.cells[column.key]]
      whole.values[f"has/{column.key}"] = np.array(present, bool)
    elif column.kind in ("label", "labels"):
      _read_labels(whole, chosen, column)
    elif column.kind in ("numbers", "target"):
      _read_numbers(whole, column)
  _read_texts(whole, chosen)
  return whole


def _present(chosen: Options, table: tables.Table) -> tuple[Column, ...]:
  """The columns to read, each checked to be in the table."""
  if chosen.columns is None:
    known = [name for name in table.columns if name in _columns.KINDS]
    if not known:
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
    )
  else:
    columns = chosen.columns
  required = [name for column in columns for name in column.names]
  required += [chosen.record_key] if chosen.record_key else []
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


def _divide(whole: Whole, chosen: Options, table: tables.Table) -> None:
  """Sets each record's split; a record whose split is unknown is in train."""
  keys: list[str | None] = [str(row) for row in range(len(whole.rows))]
  if chosen.record_key:
    keys = _keys(whole, chosen.record_key)
  shares = (chosen.validation, chosen.test)
  if not chosen.split_column or chosen.split_column not in table.columns:
    whole.split = _splits.drawn(keys, *shares)
    return
  for row, cell in enumerate(whole.column(chosen.split_column)):
    split = None if cell is None else _splits.named(str(cell))
    whole.split[row] = split or "train"
    if split is None:
      keys[row] = None
    if split is None and not whole.has_fault(row, chosen.split_column):
      reason = "it is empty" if cell is None else f"no split is called '{cell}'"
      whole.add_fault(row, chosen.split_column, reason)
  whole.split = _splits.filled(whole.split, keys, *shares)


def _keys(whole: Whole, name: str) -> list[str | None]:
  """The key of each record; a missing or repeated key is a fault."""
  lines: dict[str, int] = {}
  keys: list[str | None] = []
  for row, cell in enumerate(whole.column(name)):
    key = None if cell is None else str(cell)
    keys.append(key)
    if key in lines:
      whole.add_fault(row, name, f"'{key}' is the key of line {lines[key]} too")
    elif key is not None:
      lines[key] = whole.rows[row].line
    elif not whole.has_fault(row, name):
      whole.add_fault(row, name, "it is empty, and is the key")
  return keys


def _read_labels(whole: Whole, chosen: Options, column: Column) -> None:
  several = column.kind == "labels"
  (name,) = column.names
  training = whole.split == "train"
  whole.classes = chosen.classes or _columns.classes_of(
    (
      cell
      for cell, trains in zip(whole.column(name), training, strict=True)
      if trains and cell is not None
    ),
    several,
  )
  numbers = {label: number for number, label in enumerate(whole.classes)}
  if len(numbers) < len(whole.classes):
    raise UserError("classes has a name twice.", exists=whole.classes)
  if several:
    read = lambda cell: _columns.labels(cell, numbers)
    empty = np.full(len(numbers), -1, np.int32)
  else:
    read, empty = lambda cell: _columns.label(cell, numbers), -1
  shape = (len(whole.rows), *np.shape(empty))
  labels = np.array(whole.checked(name, read, empty), np.int32)
  whole.values["label"] = labels.reshape(shape)


def _read_numbers(whole: Whole, column: Column) -> None:
  """Reads numbers; a record lacks all of them if it lacks one."""
  read = [
    np.array(whole.checked(name, _columns.number, np.nan), np.float64)
    for name in column.names
  ]
  values = np.stack(read, axis=-1)
  present = np.isfinite(values).all(axis=-1)
  values = np.where(present[:, None], values, 0).astype(np.float32)
  scalar = column.kind == "target" and len(column.names) == 1
  whole.values[column.key] = values[:, 0] if scalar else values
  whole.values[f"has/{column.key}"] = present


def _read_texts(whole: Whole, chosen: Options) -> None:
  """Reads texts as ids; the vocabulary is built from the training split."""
  columns = [column for column in whole.columns if column.kind == "text"]
  if not columns:
    return
  texts = {
    column.key: whole.checked(column.names[0], _columns.text, "")
    for column in columns
  }
  train = np.flatnonzero(whole.split == "train")
  reader = tokenizer.make(
    chosen.tokenizer,
    [texts[column.key][row] for column in columns for row in train],
    chosen.vocabulary_size,
  )
  whole.ids, whole.texts = len(reader), tokenizer.state(reader)
  for column in columns:
    (name,) = column.names
    cells = whole.column(name)
    ids, mask = reader.encode(texts[column.key], chosen.length)
    # A pretrained tokenizer adds special tokens to an empty text, too.
    present = np.array([bool(text.strip()) for text in texts[column.key]], bool)
    for row in np.flatnonzero(~(present & mask.any(axis=1))).tolist():
      if cells[row] is not None and not whole.has_fault(row, name):
        whole.add_fault(row, name, "a text without a word")
    whole.values[column.key] = np.where(present[:, None], ids, 0)
    whole.values[f"mask/{column.key}"] = mask & present[:, None]
    whole.values[f"has/{column.key}"] = present
