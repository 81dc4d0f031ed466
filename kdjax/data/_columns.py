"""Kinds of table columns, and cells as values."""

import dataclasses
import reprlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kdjax.errors import UserError

# What a cell can hold.
KINDS = (
  *("image", "audio", "text", "numbers", "sequence", "target", "label"),
  "labels",
)

# Kinds whose cells are paths; the files are opened on use.
FILES = ("image", "audio", "sequence")

# Cells of megabytes, in messages.
_SHORT = reprlib.Repr()

# The largest number that a batch can hold.
MOST = float(np.finfo(np.float32).max)


# Options of a data set that a column may have of its own.
OWN = {
  "image": ("image_size", "channels", "fit", "range"),
  "audio": ("sample_rate", "seconds", "scale"),
  "text": ("tokenizer", "vocabulary_size", "length"),
  "sequence": ("steps",),
}


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
    """The column's value of an option, else that of the data set."""
    return dict(self.own).get(name, getattr(options, name))


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
  parsed = []
  for key, text in pairs:
    own = {}
    if isinstance(text, Mapping):
      own = dict(text)
      text = own.pop("column", key)
    if not isinstance(text, str):
      raise UserError(
        f"columns: '{key}' is {shown(text)}.",
        "Expected a column, 'kind:column', or {'column': .., option: value}.",
      )
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
    known = OWN.get(kind, ())
    for name in own:
      if name not in known:
        raise UserError(
          f"columns: '{key}' has no option '{name}'.",
          f"It is of the kind '{kind}'.",
          exists=known,
          near=name,
        )
    parsed.append(
      Column(
        key,
        kind,
        tuple(part.strip() for part in parts),
        tuple((name, _plain(value)) for name, value in sorted(own.items())),
      )
    )
  return tuple(parsed)


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
