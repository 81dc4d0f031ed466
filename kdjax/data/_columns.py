"""Kinds of table columns, and cells as values."""

import dataclasses
import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from kdjax.data import _splits
from kdjax.errors import UserError

# What a cell can hold.
KINDS = ("image", "audio", "text", "numbers", "target", "label", "labels")

# The largest number that a batch can hold.
MOST = float(np.finfo(np.float32).max)

# Separates the names in a cell of several labels.
BAR = "|"


@dataclasses.dataclass(frozen=True)
class Column:
  """A key of the batch, and the table's columns that it is read from.

  Attributes:
    key: of the batch.
    kind: one of KINDS.
    names: of the table's columns; numbers and targets may have several.
  """

  key: str
  kind: str
  names: tuple[str, ...]


def parse(columns: Mapping[str, str] | Sequence) -> tuple[Column, ...]:
  """Columns from {key: "column"} or {key: "kind:column, column"}.

  Raises:
    UserError: the kind is unknown, or does not fit the key.
  """
  pairs = columns.items() if isinstance(columns, Mapping) else columns
  parsed = []
  for key, text in pairs:
    kind, colon, names = text.partition(":")
    if not colon or kind not in KINDS:
      kind, names = key, text
    if kind not in KINDS:
      raise UserError(
        f"columns: the kind of '{key}' (from '{text}') is unknown.",
        f"Write it before the column: {key}='numbers:{text}', or another kind.",
        exists=KINDS,
        near=key,
      )
    several = kind in ("numbers", "target")
    parts = names.split(",") if several else [names]
    if kind in ("label", "labels") and key != "label":
      raise UserError(
        f"columns: '{key}' has the kind '{kind}'.",
        f"The key of labels is 'label': label='{kind}:...'.",
      )
    parsed.append(Column(key, kind, tuple(part.strip() for part in parts)))
  return tuple(parsed)


def number(value: Any) -> float:
  """A cell as a finite number.

  Raises:
    ValueError: it is not a number, or not finite in float32.
  """
  try:
    result = float(value)
  except OverflowError:
    raise ValueError(f"{_shown(value)} is not finite") from None
  except (TypeError, ValueError):
    raise ValueError(f"{_shown(value)} is no number") from None
  if not np.isfinite(result) or abs(result) > MOST:
    raise ValueError(f"{_shown(value)} is not finite")
  return result


def text(value: Any) -> str:
  """A cell as a text; a number becomes its digits.

  Raises:
    ValueError: it is a list, an object or bytes.
  """
  if isinstance(value, list | dict | bytes):
    raise ValueError(f"{_shown(value)} is no text")
  return str(value)


def classes_of(cells: Iterable[Any], several: bool = False) -> tuple[str, ...]:
  """The classes that cells name, sorted; for whole numbers, 0 to the largest.

  Args:
    cells: of the training split, in which every class is expected.
    several: whether a cell may name several classes.
  """
  names = [part for cell in cells for part in parts(cell, several)]
  names = [name for name in names if _whole(name) != -1]
  numbers = [_whole(name) for name in names]
  if all(number is not None for number in numbers):
    _splits.check_classes(max(numbers, default=-1), len({*numbers}))
    return tuple(map(str, range(max(numbers, default=-1) + 1)))
  return tuple(sorted({str(name).strip() for name in names}))


def parts(cell: Any, several: bool) -> list[Any]:
  """The labels in a cell."""
  if not several:
    return [cell]
  return list(cell) if isinstance(cell, list) else str(cell).split(BAR)


def label(value: Any, classes: Mapping[str, int]) -> int:
  """A cell's class: by name, else by number; -1 is no label.

  Raises:
    ValueError: the class does not exist.
  """
  name = str(value).strip()
  if name in classes:
    return classes[name]
  number = _whole(value)
  if number is None:
    near = difflib.get_close_matches(name, classes, n=1)
    guess = f" (did you mean '{near[0]}'?)" if near else ""
    raise ValueError(f"no class is called {_shown(value)}{guess}")
  if not -1 <= number < len(classes):
    raise ValueError(
      f"label {number} is outside of the {len(classes)} classes, 0 to"
      f" {len(classes) - 1}"
    )
  return number


def labels(value: Any, classes: Mapping[str, int]) -> np.ndarray:
  """The classes in a cell of several labels, as 1 or 0 each: i32 [K].

  Raises:
    ValueError: a class does not exist.
  """
  row = np.zeros(len(classes), np.int32)
  for part in parts(value, several=True):
    number = label(part, classes)
    if number < 0:
      raise ValueError("label -1 among several")
    row[number] = 1
  return row


def _whole(value: Any) -> int | None:
  """A cell such as 3, "3" or "3.0" as a whole number; else None."""
  if isinstance(value, bool):
    return int(value)
  try:
    result = float(value)
  except (TypeError, ValueError, OverflowError):
    return None
  return int(result) if result.is_integer() else None


def _shown(value: Any, most: int = 40) -> str:
  """A cell in a message, cut to `most` characters."""
  text = repr(value)
  return text if len(text) <= most else f"{text[: most - 1]}…"
