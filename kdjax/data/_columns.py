"""Kinds of table columns, and cells as values."""

import dataclasses
import reprlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kdjax.errors import UserError

# What a cell can hold.
KINDS = (
  *("image", "frames", "audio", "text", "numbers", "sequence", "target"),
  *("label", "labels"),
)

# Kinds of labels; their keys are "label", or "label/<name>" of several tasks.
LABELS = ("label", "labels")

# Kinds whose cells are paths; the files are opened on use.
FILES = ("image", "frames", "audio", "sequence")

# Cells of megabytes, in messages.
_SHORT = reprlib.Repr()

# The largest number that a batch can hold.
MOST = float(np.finfo(np.float32).max)


# Options of a data set that a column may have of its own.
OWN = {
  "image": ("image_size", "channels", "fit", "range"),
  "frames": ("image_size", "channels", "fit", "range", "steps"),
  "audio": ("sample_rate", "seconds", "scale"),
  "text": ("tokenizer", "vocabulary_size", "length", "captions"),
  "sequence": (
    *("steps", "fields", "time", "time_unit", "stored_rate", "gap"),
  ),
  "label": ("classes", "field"),
  "labels": ("classes",),
}

# Options that only columns have, with their defaults.
ALONE = {"fields": (), "time": "", "time_unit": 1.0, "stored_rate": 0.0}
ALONE |= {"gap": 0.0, "field": ""}


@dataclasses.dataclass(frozen=True)
class Column:
  """A key of the batch, and the table's columns that it is read from.

  Attributes:
    key: of the batch.
    kind: one of KINDS.
    names: of the table's columns; numbers and targets may have several.
    own: (option, value) pairs that replace the data set's options.
  """

  key: str
  kind: str
  names: tuple[str, ...]
  own: tuple[tuple[str, Any], ...] = ()

  def option(self, name: str, options: Any) -> Any:
    """The column's value of an option, else that of the data set.

    The data set's `classes` are those of the key "label" alone.
    """
    if name in (own := dict(self.own)):
      return own[name]
    if name == "classes" and self.key != "label":
      return ()
    if name in ALONE:
      return ALONE[name]
    return getattr(options, name)


def parse(columns: Any) -> tuple[Column, ...]:
  """Columns from {key: "column"} or {key: "kind:column, column"}.

  In place of the text: {"column": text, option: value}, with options of OWN.

  Raises:
    UserError: the kind is unknown, or does not fit the key or an option.
  """
  if isinstance(columns, str) or not isinstance(columns, Mapping | Sequence):
    raise UserError(
      f"columns is {shown(columns)}.",
      "Expected {key: column}, such as {'image': 'photo'}.",
    )
  pairs = columns.items() if isinstance(columns, Mapping) else columns
  return tuple(_column(key, value) for key, value in pairs)


def _column(key: str, value: Any) -> Column:
  """A column from its key and its value in `columns`."""
  own = {}
  text = value
  if isinstance(value, Mapping):
    own = dict(value)
    text = own.pop("column", key)
  if not isinstance(text, str):
    raise UserError(
      f"columns: '{key}' is {shown(text)}.",
      "Expected a column, 'kind:column', or {'column': .., option: value}.",
    )
  kind, colon, names = text.partition(":")
  if not colon or kind not in KINDS:
    # The key of one of several labels is "label/<name>".
    kind, names = key.removesuffix(f"/{key.partition('/')[2]}"), text
  if kind not in KINDS:
    raise UserError(
      f"columns: the kind of '{key}' (from '{text}') is unknown.",
      f"Write it before the column: {key}='numbers:{text}', or another kind.",
      exists=KINDS,
      near=key,
    )
  if kind in LABELS and key.partition("/")[0] != "label":
    raise UserError(
      f"columns: '{key}' has the kind '{kind}'.",
      f"The key of labels is 'label': label='{kind}:...'; of several,"
      f" 'label/{key}'.",
    )
  unknown = next((name for name in own if name not in OWN.get(kind, ())), None)
  if unknown:
    raise UserError(
      f"columns: '{key}' has no option '{unknown}'.",
      f"It is of the kind '{kind}'.",
      exists=OWN.get(kind, ()),
      near=unknown,
    )
  parts = names.split(",") if kind in ("numbers", "target") else [names]
  options = ((name, _plain(it)) for name, it in sorted(own.items()))
  return Column(key, kind, tuple(map(str.strip, parts)), tuple(options))


def _plain(value: Any) -> Any:
  """An option's value, hashable."""
  return tuple(value) if isinstance(value, list | tuple) else value


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
