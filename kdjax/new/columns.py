"""The columns of a table, and what their cells are: files, texts, numbers."""

import collections
import io
import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from kdjax.data import _columns, _layout
from kdjax.preprocess import images, tables

# Words of the names of columns. The first label of the list counts.
LABELS = (
  *("label", "labels", "class", "classes", "category", "target", "y"),
  *("species", "activity", "emotion", "sentiment", "genre", "genres"),
  *("diagnosis", "outcome", "tag", "tags", "type", "score", "rating", "price"),
)
# Those that also count as a part of a name; "y" of phone_y is an axis.
ANSWERS = tuple(word for word in LABELS if word != "y")
PEOPLE = (
  *("person", "subject", "speaker", "patient", "participant", "user"),
  *("actor", "rater", "volunteer", "group"),
)
IDENTITIES = ("id", "key", "uuid", "guid", "index", "unnamed", "rowid", "path")

# Cells that are looked at; more would say the same.
SAMPLE = 2000
# Numbers of which fewer occur, in more records each, are classes.
CLASSES, EACH = 100, 3
# Whole numbers that all differ in so many records are no measurements.
MANY = 1000
# Words of a name of a class, at most; a longer cell is a text.
WORDS = 4


class Column(NamedTuple):
  """A column of a table.

  Attributes:
    name: in the table.
    kind: one of `_columns.KINDS`; "category" of few words or numbers,
      "identity" of an other word in each record, "" of no known kind.
    cells: those that are not empty, at most SAMPLE.
    empty: the share of empty cells.
  """

  name: str
  kind: str
  cells: Sequence[Any]
  empty: float

  @property
  def different(self) -> int:
    """How many different cells there are."""
    return len({str(cell) for cell in self.cells})


def words_of(name: str) -> list[str]:
  """The words of a column's name, in lower case: "userId" has user and id."""
  apart = re.sub(r"([a-z])([A-Z])", r"\1 \2", str(name))
  return re.findall(r"[a-z]+", apart.lower())


def column_of(table: tables.Table, name: str) -> Column:
  """A column with its kind."""
  cells = [row.cells[name] for row in table.rows if name in row.cells]
  empty = 1 - len(cells) / max(len(table.rows), 1)
  sample = cells[:: -(-len(cells) // SAMPLE) or 1]
  kind = _kind(name, sample) if sample else ""
  if name in table.classes:
    kind = "category"
  return Column(name, kind, sample, empty)


def _kind(name: str, cells: Sequence[Any]) -> str:
  """The kind of a column's cells."""
  first = cells[0]
  if isinstance(first, Mapping | bytes):
    return _kind_of_bytes(first)
  if isinstance(first, list):
    return _kind_of_list(name, first)
  if are_numbers(cells):
    return _kind_of_numbers(name, cells)
  if not all(isinstance(cell, str) for cell in cells):
    return "category" if isinstance(first, bool) else ""
  ending = collections.Counter(_layout.kind_of(cell) for cell in cells)
  (kind, count), *_ = ending.most_common(1)
  if kind and count >= 0.9 * len(cells):
    return kind
  if all(cell.endswith((".csv", ".npy")) for cell in cells):
    return "sequence"
  return _kind_of_words(name, cells)


def _kind_of_bytes(cell: Any) -> str:
  """The kind of a file in a cell, as the Hugging Face hub has it."""
  content, path = cell, ""
  if isinstance(cell, Mapping):
    content, path = cell.get("bytes"), cell.get("path") or ""
  if path and _layout.kind_of(path):
    return _layout.kind_of(path)
  if not isinstance(content, bytes):
    return ""
  try:
    images.size_of(io.BytesIO(content))
    return "image"
  except ValueError:
    return "audio"


def _kind_of_list(name: str, cell: list) -> str:
  if not cell:
    return ""
  if isinstance(cell[0], list):
    return "sequence"
  named = {*words_of(name)} & {*ANSWERS}
  if all(isinstance(it, str) for it in cell):
    if all(_layout.kind_of(it) == "image" for it in cell):
      return "frames"
    return "labels" if named else "text"
  return "labels" if named and {*cell} <= {0, 1} else "numbers"


def are_numbers(cells: Sequence[Any]) -> bool:
  """Whether all cells are numbers."""
  try:
    for cell in cells:
      _columns.number(cell)
  except ValueError:
    return False
  return not isinstance(cells[0], bool)


def _kind_of_numbers(name: str, cells: Sequence[Any]) -> str:
  """Numbers, a number of a record, or numbers that may be classes."""
  values = np.array([float(cell) for cell in cells])
  whole = bool((values == np.round(values)).all())
  different = len(np.unique(values))
  if whole and different == len(values) > CLASSES // 2:
    counted = bool((np.diff(np.sort(values)) == 1).all())
    if (
      counted
      or different >= MANY
      or {*words_of(name)} & {*IDENTITIES}
      or not name
    ):
      return "identity"
  few = different <= CLASSES and different * EACH <= len(values)
  return "category" if whole and few and values.min() >= 0 else "numbers"


def _kind_of_words(name: str, cells: Sequence[str]) -> str:
  different = len({*cells})
  lengths = [len(cell.split()) for cell in cells]
  if "|" in "".join(cells) and {*words_of(name)} & {*ANSWERS}:
    return "labels"
  if max(lengths) <= WORDS and different * EACH <= len(cells):
    return "category"
  wordless = max(lengths) == 1 and max(map(len, cells)) < 40
  alphabet = "".join(cells).isascii()
  return "identity" if wordless and alphabet and different > 1 else "text"


def key_of(name: str) -> str:
  """A column's name as a key of the batch."""
  return re.sub(r"\W+", "_", name).strip("_") or "column"


def tells(name: str, aligned: Sequence[tuple[Mapping, str]]) -> bool:
  """Whether few values of a column say the label exactly."""
  pairs = {
    (str(cells[name]), answer) for cells, answer in aligned if name in cells
  }
  values, answers = {it for it, _ in pairs}, {it for _, it in pairs}
  counted = sum(name in cells for cells, _ in aligned)
  return len(pairs) == len(values) == len(answers) > 1 and counted > len(pairs)


def named_in(texts: Sequence[tuple[Any, str]]) -> float:
  """The share of texts in which the name of their class occurs.

  Args:
    texts: (text or list of texts, name of the class) pairs.
  """
  found = 0
  for text, name in texts:
    joined = " ".join(text) if isinstance(text, list) else str(text)
    words = " ".join(itertools.chain(re.findall(r"\w+", joined.lower())))
    wanted = " ".join(re.findall(r"\w+", name.lower()))
    found += bool(wanted) and f" {wanted} " in f" {words} "
  return found / len(texts) if texts else 0.0


def parsed(key: str, column: Any) -> _columns.Column:
  """A key of `columns`, as `manifest` reads it."""
  return _columns.parse({key: column})[0]
