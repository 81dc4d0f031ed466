"""Python source of calls, in the layout of `ruff format`."""

import textwrap
from collections.abc import Mapping
from typing import Any, NamedTuple

WIDTH, STEP = 80, 2


class Name(NamedTuple):
  """An expression that is written as it stands."""

  text: str


class Noted(NamedTuple):
  """A value with a comment in the lines above it."""

  value: Any
  note: str


class Call:
  """A call of a function.

  Args:
    function: its name.
    *positional: its values.
    **named: its keyword arguments.
  """

  def __init__(self, function: str, *positional: Any, **named: Any):
    self.function = function
    self.items = [(None, it) for it in positional] + [*named.items()]

  def replaced(self, **named: Any) -> "Call":
    """A call with other values of some keyword arguments."""
    other = Call(self.function)
    other.items = [(key, named.get(key or "", it)) for key, it in self.items]
    return other


def assigned(name: str, value: Any, note: str = "", indent: int = STEP) -> str:
  """The lines of `name = value`, with a comment above them."""
  pad = " " * indent
  start = f"{pad}{name} = " if name else pad
  return comment(note, indent) + start + text_of(value, indent, len(start))


def returned(value: Any, indent: int = STEP) -> str:
  """The lines of `return value`."""
  start = f"{' ' * indent}return "
  return start + text_of(value, indent, len(start))


def text_of(value: Any, indent: int, used: int, after: int = 0) -> str:
  """A value's source: on one line if it fits, else an item a line.

  Args:
    value: a call, a name, or plain values.
    indent: columns before the line.
    used: columns of the line before the value.
    after: columns that follow the value on its last line.
  """
  line = _flat(value)
  if line is not None and used + len(line) + after <= WIDTH:
    return line
  parts = _parts(value)
  if parts is None or not parts[2]:
    return line or ""
  opening, closing, items = parts
  pad = " " * (indent + STEP)
  if line is not None and isinstance(value, Call):
    inner = line[len(opening) : -len(closing)]
    if len(pad) + len(inner) <= WIDTH:
      return f"{opening}\n{pad}{inner}\n{' ' * indent}{closing}"
  lines = [opening]
  for start, item in items:
    note = item.note if isinstance(item, Noted) else ""
    item = item.value if isinstance(item, Noted) else item
    shown = text_of(item, indent + STEP, len(pad) + len(start), 1)
    lines.append(f"{comment(note, indent + STEP)}{pad}{start}{shown},")
  return "\n".join([*lines, " " * indent + closing])


def comment(note: str, indent: int = STEP) -> str:
  """The lines of a comment; "" without one."""
  if not note:
    return ""
  mark = " " * indent + "# "
  lines = textwrap.wrap(
    note, WIDTH, initial_indent=mark, subsequent_indent=mark
  )
  return "\n".join(lines) + "\n"


def _flat(value: Any) -> str | None:
  """A value on one line; None if a comment is inside."""
  if isinstance(value, Noted):
    return None
  parts = _parts(value)
  if parts is None:
    return value.text if isinstance(value, Name) else _literal(value)
  opening, closing, items = parts
  inner = [_flat(item) for _, item in items]
  if None in inner:
    return None
  joined = ", ".join(
    start + text for (start, _), text in zip(items, inner, strict=True)
  )
  comma = "," if isinstance(value, tuple) and len(items) == 1 else ""
  return f"{opening}{joined}{comma}{closing}"


def _parts(value: Any) -> tuple[str, str, list[tuple[str, Any]]] | None:
  """Brackets and items of what has some: (start of the item, item) pairs."""
  if isinstance(value, Call):
    items = [(_start(key), it) for key, it in value.items]
    return f"{value.function}(", ")", items
  if isinstance(value, Name):
    return None
  if isinstance(value, Mapping):
    items = [
      ("" if key == "**" else f"{_literal(key)}: ", it)
      for key, it in value.items()
    ]
    return "{", "}", items
  if isinstance(value, tuple):
    return "(", ")", [("", it) for it in value]
  return None


def _start(key: str | None) -> str:
  if key is None or key == "**":
    return key or ""
  return f"{key}="


def _literal(value: Any) -> str:
  """A plain value, strings with double quotes."""
  if isinstance(value, str):
    shown = repr(value)
    if shown[0] == "'" and '"' not in value:
      return f'"{shown[1:-1]}"' if "\\'" not in shown else repr(value)
    return shown
  return repr(value)
