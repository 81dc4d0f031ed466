"""What the columns of a table become: kinds, and cells as values."""

import dataclasses
import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from kdjax.errors import UserError

# What a cell can hold.
KINDS = ("image", "audio", "text", "numbers", "target", "label", "labels")

# Of a number in a batch.
MOST = float(np.finfo(np.float32).max)

# Between the names in a cell of several labels.
BAR = "|"


@dataclasses.dataclass(frozen=True)
class Column:
  """A key of the batch, and where in a table it is.

  Attributes:
    key: of the batch.
    kind: one of KINDS.
    names: of the table's columns; more than one of numbers.
  """

  key: str
  kind: str
  names: tuple[str, ...]


def parse(columns: Mapping[str, str] | Sequence) -> tuple[Column, ...]:
  """Columns from {key: "column"} or {key: "kind:column, column"}.

  Raises:
    UserError: a kind that there is not, or columns that do not fit it.
  """
  pairs = columns.items() if isinstance(columns, Mapping) else columns
  found = []
  for key, text in pairs:
    kind, colon, names = text.partition(":")
    if not colon or kind not in KINDS:
      kind, names = key, text
    if kind not in KINDS:
      raise UserError(
        f"columns: what is '{key}'? It reads '{text}'.",
        f"Say so: {key}='numbers:{text}', or another kind.",
        exists=KINDS,
        near=key,
      )
    several = kind in ("numbers", "target")
    parts = names.split(",") if several else [names]
    if kind in ("label", "labels") and key != "label":
      raise UserError(
        f"columns: '{key}' is of the kind {kind}.",
        "Labels are called 'label': label='labels:...'.",
      )
    found.append(Column(key, kind, tuple(part.strip() for part in parts)))
  return tuple(found)


def number(value: Any) -> float:
  """A cell as a finite number.

  Raises:
    ValueError: it is none.
  """
  try:
    found = float(value)
  except (TypeError, ValueError):
    raise ValueError(f"{_shown(value)} is no number") from None
  if not np.isfinite(found) or abs(found) > MOST:
    raise ValueError(f"{_shown(value)} is not finite")
  return found


def text(value: Any) -> str:
  """A cell as a text; a number is its digits.

  Raises:
    ValueError: it is none.
  """
  if isinstance(value, list | dict | bytes):
    raise ValueError(f"{_shown(value)} is no text")
  return str(value)


def classes_of(cells: Iterable[Any], several: bool = False) -> tuple[str, ...]:
  """The classes that cells name, by alphabet; of whole numbers, 0 to the most.

  Args:
    cells: of the training split, in which every class is expected.
    several: whether a cell names several.
  """
  given = [part for cell in cells for part in parts(cell, several)]
  given = [part for part in given if _whole(part) != -1]
  numbers = [_whole(part) for part in given]
  if all(one is not None for one in numbers):
    return tuple(map(str, range(max(numbers, default=-1) + 1)))
  return tuple(sorted({str(part).strip() for part in given}))


def parts(cell: Any, several: bool) -> list[Any]:
  """The labels in a cell."""
  if not several:
    return [cell]
  return list(cell) if isinstance(cell, list) else str(cell).split(BAR)


def label(value: Any, classes: Mapping[str, int]) -> int:
  """The class of a cell: by name, or else by number; -1 is none.

  Raises:
    ValueError: there is no such class.
  """
  name = str(value).strip()
  if name in classes:
    return classes[name]
  place = _whole(value)
  if place is None:
    near = difflib.get_close_matches(name, classes, n=1)
    guess = f" (did you mean '{near[0]}'?)" if near else ""
    raise ValueError(f"no class is called {_shown(value)}{guess}")
  if not -1 <= place < len(classes):
    raise ValueError(
      f"label {place} is outside of the {len(classes)} classes, 0 to"
      f" {len(classes) - 1}"
    )
  return place


def labels(value: Any, classes: Mapping[str, int]) -> np.ndarray:
  """The classes of a cell of several, 1 or 0 each: i32 [K].

  Raises:
    ValueError: there is no such class.
  """
  found = np.zeros(len(classes), np.int32)
  for part in parts(value, several=True):
    place = label(part, classes)
    if place < 0:
      raise ValueError("label -1 among several")
    found[place] = 1
  return found


def _whole(value: Any) -> int | None:
  """A cell as a whole number, as 3, "3" and "3.0" are."""
  if isinstance(value, bool):
    return int(value)
  try:
    found = float(value)
  except (TypeError, ValueError):
    return None
  return int(found) if found.is_integer() else None


def _shown(value: Any, most: int = 40) -> str:
  """A cell in a message."""
  text = repr(value)
  return text if len(text) <= most else f"{text[: most - 1]}…"
