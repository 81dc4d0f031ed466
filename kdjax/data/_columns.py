"""Kinds of table columns, and cells as values."""

import dataclasses
import reprlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kdjax.errors import UserError

# What a cell can hold.
KINDS = ("image", "audio", "text", "numbers", "target", "label", "labels")

# Kinds whose cells are paths; the files are opened on use.
FILES = ("image", "audio")

# Cells of megabytes, in messages.
_SHORT = reprlib.Repr()

# The largest number that a batch can hold.
MOST = float(np.finfo(np.float32).max)


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
    raise ValueError(f"{shown(value)} is not finite") from None
  except (TypeError, ValueError):
    raise ValueError(f"{shown(value)} is no number") from None
  if not np.isfinite(result) or abs(result) > MOST:
    raise ValueError(f"{shown(value)} is not finite")
  return result


def text(value: Any) -> str:
  """A cell as a text; a number becomes its digits.

  Raises:
    ValueError: it is a list, an object or bytes.
  """
  if isinstance(value, list | dict | bytes):
    raise ValueError(f"{shown(value)} is no text")
  return str(value)


def shown(value: Any, most: int = 40) -> str:
  """A cell in a message, cut to `most` characters."""
  if isinstance(value, list | dict | bytes):
    text = _SHORT.repr(value)
  else:
    text = repr(value[: most + 1] if isinstance(value, str) else value)
  return text if len(text) <= most else f"{text[: most - 1]}…"
