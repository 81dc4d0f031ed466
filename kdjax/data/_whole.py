"""A manifest's options, and its records as a whole."""

import dataclasses
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from kdjax.data import _columns, _layout
from kdjax.data._columns import Column
from kdjax.preprocess import tables


@dataclasses.dataclass(frozen=True)
class Options:
  """The options of `manifest.load`, described there.

  Attributes:
    seed: of a run with folds; else 0.
  """

  root: str
  table: str
  columns: tuple[Column, ...] | None
  record_key: str
  group_column: str
  split_column: str
  validation: float
  test: float
  classes: tuple[str, ...]
  image_size: tuple[int, int]
  channels: int
  fit: str
  range: tuple[float, float] | None
  sample_rate: int
  seconds: float
  scale: float
  steps: int
  tokenizer: str
  vocabulary_size: int
  length: int
  captions: int
  encoding: str
  separator: str
  quoting: str
  window: float = 0.0
  step: float = 0.0
  rate: float = 0.0
  purity: float = 0.0
  folds: int | str = 0
  labels_per_class: int = 0
  seed: int = 0

  @classmethod
  def of(cls, values: Mapping[str, Any]) -> "Options":
    """Options from a value for each of `manifest.load`.

    Raises:
      UserError: `columns` cannot be read.
    """
    values = dict(values)
    columns = values["columns"]
    values["columns"] = None if columns is None else _columns.parse(columns)
    for key in ("classes", "image_size"):
      values[key] = tuple(values[key])
    if values["range"] is not None:
      values["range"] = tuple(values["range"])
    fields = {field.name for field in dataclasses.fields(cls)}
    return cls(**{key: values[key] for key in fields & values.keys()})

  @property
  def path(self) -> pathlib.Path:
    """The table's path; of a pattern, that of the pattern."""
    return pathlib.Path(self.root) / self.table

  @property
  def of_tables(self) -> bool:
    """Whether files of a pattern are tables; else each is a record."""
    files = [it.names for it in self.columns or () if it.kind == "sequence"]
    recordings = self.window and (_layout.FILE,) in files
    return _layout.is_of_tables(self.table) and not recordings

  @property
  def there(self) -> bool:
    """Whether there is a table to read."""
    if _layout.is_pattern(self.root, self.table):
      return os.path.isdir(self.root)
    return self.path.is_file()

  def file_of(self, row: tables.Row) -> str:
    """The file that a record is in, for messages."""
    return os.path.join(self.root, row.file) if row.file else f"{self.path}"


@dataclasses.dataclass
class Whole:
  """All M records of a table.

  Attributes:
    columns: keys of the batch and the table's columns they are read from.
    rows: the records as they were read.
    split: str [M].
    stated: bool [M], whether the table states a record's split.
    classes: label key -> the names of its classes.
    values: key -> [M ...], for kinds that are not files.
    cells: key -> M cells, for kinds that are files; None if a cell is empty.
    faults: row number -> (column, reason) pairs.
    features: sequence key -> numbers of a step.
    ids: text key -> vocabulary size.
    captions: text key -> captions of a record, of columns with lists of texts.
    groups: the names of the groups, if records have one.
    readers: text key -> its tokenizer.
    texts: all that the ids of a text depend on; "" without texts.
    remarks: sentences on what is no fault and may be a mistake.
  """

  columns: tuple[Column, ...]
  rows: tuple[tables.Row, ...]
  split: np.ndarray
  stated: np.ndarray
  classes: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
  values: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
  cells: dict[str, list[Any]] = dataclasses.field(default_factory=dict)
  faults: dict[int, list[tuple[str, str]]] = dataclasses.field(
    default_factory=dict
  )
  features: dict[str, int] = dataclasses.field(default_factory=dict)
  ids: dict[str, int] = dataclasses.field(default_factory=dict)
  captions: dict[str, int] = dataclasses.field(default_factory=dict)
  groups: tuple[str, ...] = ()
  readers: dict[str, Any] = dataclasses.field(default_factory=dict)
  texts: str = ""
  remarks: list[str] = dataclasses.field(default_factory=list)

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
