"""Tables of knobs: every knob once, with its default and its meaning.

A table documents the function that takes its knobs: `help(kdjax.config.stage)`
lists them all, and so does README.md.
"""

import textwrap
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from kdjax.config.fields import check

WIDTH = 78


class Knob(NamedTuple):
  """A knob of a config.

  Args:
    default: its value; a function is called for each config.
    meaning: what it sets, in one or two sentences.
    written: how the default is written, if it is a function.
  """

  default: Any
  meaning: str
  written: str = ""

  def __str__(self) -> str:
    """The default as one writes it in a config file."""
    return self.written or repr(self.default).replace("'", '"')

  def value(self) -> Any:
    """The default, made anew where it is a function."""
    return self.default() if callable(self.default) else self.default


Table = Mapping[str, Knob]


def values(knobs: Table, changes: Mapping[str, Any], what: str) -> dict:
  """Every knob's value: its default, or what `changes` has.

  Args:
    knobs: the table.
    changes: knob -> value. An integer becomes a float where the default is one.
    what: the table's name in the error message.

  Raises:
    UserError: `changes` has a key that is no knob.
  """
  check(changes, knobs, what)
  result = {}
  for key, knob in knobs.items():
    default = knob.value()
    value = changes.get(key, default)
    is_float = isinstance(default, float) and type(value) is int
    result[key] = float(value) if is_float else value
  return result


def documented(knobs: Table) -> Callable[[Callable], Callable]:
  """A decorator that adds a table of knobs to a function's docstring."""

  def add(function: Callable) -> Callable:
    lines = ["", "  Knobs, with their defaults:"]
    for key, knob in knobs.items():
      text = f"{key} = {knob}: {knob.meaning}"
      lines += textwrap.wrap(
        text, WIDTH, initial_indent=" " * 4, subsequent_indent=" " * 6
      )
    doc = (function.__doc__ or "").rstrip()
    function.__doc__ = "\n".join([doc, *lines, ""])
    return function

  return add
