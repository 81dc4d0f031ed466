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

# Kinds whose cells are paths of files, which are opened late.
FILES = ("image", "audio")


@dataclasses.dataclass(frozen=True)
class Options:
  """What `manifest.load` was given; it says what each means."""

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
    """The table's."""
    return pathlib.Path(self.root) / self.table


@dataclasses.dataclass
class Whole:
  """All records of a table, M of them.

  Attributes:
    columns: what its columns become.
    rows: as they were read.
    split: str [M].
    classes: the names of the classes.
    values: key -> [M ...], of what is no file.
    cells: key -> M cells, None where one is empty, of what is in files.
    faults: place -> (column, reason)s.
    ids: how many the texts have together.
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

  def column(self, name: str) -> list[Any]:
    """The cells of a column, None where one is empty."""
    return [row.cells.get(name) for row in self.rows]

  def fault(self, place: int, column: str, reason: str) -> None:
    """Keeps what is wrong with a cell."""
    self.faults.setdefault(place, []).append((column, reason))

  def is_told(self, place: int, column: str) -> bool:
    """Whether a fault of a cell, or of its whole record, is known."""
    return bool({"", column} & {*dict(self.faults.get(place, ()))})

  def checked(self, name: str, read, empty: Any) -> list[Any]:
    """A column through `read`, which raises ValueError for a fault."""
    found = []
    for place, cell in enumerate(self.column(name)):
      value = empty
      if cell is not None:
        try:
          value = read(cell)
        except ValueError as error:
          self.fault(place, name, str(error))
      found.append(value)
    return found


def open_table(chosen: Options) -> Whole:
  """A table, read once for all splits, and again when it has changed."""
  stamp = None
  if chosen.path.is_file():
    found = chosen.path.stat()
    stamp = (found.st_mtime_ns, found.st_size)
  return _opened(chosen, stamp)


@functools.lru_cache(maxsize=2)
def _opened(chosen: Options, stamp: tuple[int, int] | None) -> Whole:
  del stamp  # tells one state of the file from another
  table = tables.read(chosen.path, chosen.encoding)
  columns = _present(chosen, table)
  split = np.full(len(table.rows), "train", "<U10")
  whole = Whole(columns, table.rows, split)
  for place, row in enumerate(table.rows):
    for column, reason in row.faults:
      whole.fault(place, column, reason)
  _divide(whole, chosen, table)
  for column in columns:
    if column.kind in FILES:
      whole.cells[column.key] = whole.column(column.names[0])
      there = [cell is not None for cell in whole.cells[column.key]]
      whole.values[f"has/{column.key}"] = np.array(there, bool)
    elif column.kind in ("label", "labels"):
      _read_labels(whole, chosen, column)
    elif column.kind in ("numbers", "target"):
      _read_numbers(whole, column)
  _read_texts(whole, chosen)
  return whole


def _present(chosen: Options, table: tables.Table) -> tuple[Column, ...]:
  """The columns to read, all of which the table has."""
  if chosen.columns is None:
    known = [name for name in table.columns if name in _columns.KINDS]
    if not known:
      raise UserError(
        f"Which columns of '{chosen.path}'? None is called {_columns.KINDS[0]},"
        f" {', '.join(_columns.KINDS[1:])}.",
        "Give columns={key: column}, or {key: 'kind:column'}.",
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
  wanted = [name for column in columns for name in column.names]
  wanted += [chosen.record_key] if chosen.record_key else []
  if chosen.split_column not in ("", "split"):
    wanted.append(chosen.split_column)
  for name in wanted:
    if name not in table.columns:
      raise UserError(
        f"The table '{chosen.path}' has no column '{name}'.",
        exists=table.columns,
        near=name,
      )
  return columns


def _divide(whole: Whole, chosen: Options, table: tables.Table) -> None:
  """Gives every record its split; one whose own is not known trains."""
  keys: list[str | None] = [str(place) for place in range(len(whole.rows))]
  if chosen.record_key:
    keys = _keys(whole, chosen.record_key)
  shares = (chosen.validation, chosen.test)
  if not chosen.split_column or chosen.split_column not in table.columns:
    whole.split = _splits.drawn(keys, *shares)
    return
  for place, cell in enumerate(whole.column(chosen.split_column)):
    found = None if cell is None else _splits.named(str(cell))
    whole.split[place] = found or "train"
    if found is None:
      keys[place] = None
    if found is None and not whole.is_told(place, chosen.split_column):
      told = "it is empty" if cell is None else f"no split is called '{cell}'"
      whole.fault(place, chosen.split_column, told)
  whole.split = _splits.filled(whole.split, keys, *shares)


def _keys(whole: Whole, name: str) -> list[str | None]:
  """What tells records apart; the second of a kind is a fault."""
  lines: dict[str, int] = {}
  keys: list[str | None] = []
  for place, cell in enumerate(whole.column(name)):
    key = None if cell is None else str(cell)
    keys.append(key)
    if key in lines:
      whole.fault(place, name, f"'{key}' is the key of line {lines[key]} too")
    elif key is not None:
      lines[key] = whole.rows[place].line
    elif not whole.is_told(place, name):
      whole.fault(place, name, "it is empty, and is the key")
  return keys


def _read_labels(whole: Whole, chosen: Options, column: Column) -> None:
  several = column.kind == "labels"
  (name,) = column.names
  training = whole.split == "train"
  whole.classes = chosen.classes or _columns.classes_of(
    (
      cell
      for cell, one in zip(whole.column(name), training, strict=True)
      if one and cell is not None
    ),
    several,
  )
  numbers = {one: place for place, one in enumerate(whole.classes)}
  if len(numbers) < len(whole.classes):
    raise UserError("classes has a name twice.", exists=whole.classes)
  if several:
    read = lambda cell: _columns.labels(cell, numbers)
    empty = np.full(len(numbers), -1, np.int32)
  else:
    read, empty = lambda cell: _columns.label(cell, numbers), -1
  shape = (len(whole.rows), *np.shape(empty))
  found = np.array(whole.checked(name, read, empty), np.int32)
  whole.values["label"] = found.reshape(shape)


def _read_numbers(whole: Whole, column: Column) -> None:
  """Numbers of one or more columns; one that is empty empties the rest."""
  found = [
    np.array(whole.checked(name, _columns.number, np.nan), np.float64)
    for name in column.names
  ]
  values = np.stack(found, axis=-1)
  there = np.isfinite(values).all(axis=-1)
  values = np.where(there[:, None], values, 0).astype(np.float32)
  one = column.kind == "target" and len(column.names) == 1
  whole.values[column.key] = values[:, 0] if one else values
  whole.values[f"has/{column.key}"] = there


def _read_texts(whole: Whole, chosen: Options) -> None:
  """Ids of all texts, by the vocabulary of those of the training split."""
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
    [texts[column.key][place] for column in columns for place in train],
    chosen.vocabulary_size,
  )
  whole.ids = len(reader)
  for column in columns:
    (name,) = column.names
    given = whole.column(name)
    ids, mask = reader.encode(texts[column.key], chosen.length)
    # A pretrained tokenizer puts special tokens around nothing, too.
    there = np.array([bool(one.strip()) for one in texts[column.key]], bool)
    for place in np.flatnonzero(~(there & mask.any(axis=1))).tolist():
      if given[place] is not None and not whole.is_told(place, name):
        whole.fault(place, name, "a text without a word")
    whole.values[column.key] = np.where(there[:, None], ids, 0)
    whole.values[f"mask/{column.key}"] = mask & there[:, None]
    whole.values[f"has/{column.key}"] = there
