"""Cells of labels as classes: names and numbers in one form, checked."""

import difflib
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from kdjax.data import _splits
from kdjax.data._columns import shown
from kdjax.errors import UserError

# Separates the names in a cell of several labels.
BAR = "|"

# A number as tables write it; Python's own reader would take "1_0" too.
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)

# Characters without a width, which a name cannot be told apart by.
_INVISIBLE = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff\u00ad"))


def name_of(value: Any) -> str:
  """A cell's class in the form that is compared.

  3, 3.0, "3" and "3.0" are "3". A text is in NFC, with single spaces.

  Raises:
    ValueError: it is a list, an object, bytes, blank or not finite.
  """
  if isinstance(value, list | dict | bytes):
    raise ValueError(f"{shown(value)} is no name of a class")
  if isinstance(value, bool):
    return str(int(value))
  if not isinstance(value, str):
    value = str(value)
  text = unicodedata.normalize("NFC", value).translate(_INVISIBLE)
  text = " ".join(text.split())
  if not text:
    raise ValueError(f"{shown(value)} is blank, and no name of a class")
  if text[0] + text[-1] in ("[]", "{}", "()"):
    raise ValueError(
      f"{shown(value)} is a list written as a text; several labels are the kind"
      f" 'labels', as a list in JSONL and Parquet or as a{BAR}b"
    )
  if text.lower().lstrip("+-") in ("nan", "inf", "infinity"):
    raise ValueError(
      f"{shown(value)} is no class; the cell of an unlabelled record is empty"
    )
  if not _NUMBER.fullmatch(text):
    return text
  try:
    number = int(text)
  except ValueError:  # "3.0", or more digits than Python converts
    number = float(text)
  if not np.isfinite(float(text)):
    return text
  return str(int(number)) if number == int(number) else repr(number)


def classes_of(cells: Iterable[Any], several: bool = False) -> tuple[str, ...]:
  """The classes that cells name, sorted; for whole numbers, 0 to the largest.

  Args:
    cells: in which every class is expected; faulty ones are passed over.
    several: whether a cell may name several classes.

  Raises:
    UserError: numbers that are no classes, or names that differ by case alone.
  """
  names: set[str] = set()
  for cell in cells:
    try:
      names |= {name_of(part) for part in parts(cell, several)}
    except ValueError:
      continue
  names.discard("-1")
  if not all(map(is_number, names)):
    _check_case(names)
    return tuple(sorted(names))
  if not all(map(str.isdecimal, names)):
    return tuple(sorted(names, key=float))
  largest = max(names, key=lambda name: (len(name), name), default="-1")
  _splits.check_classes(largest, len(names))
  return tuple(map(str, range(int(largest) + 1)))


def is_number(name: str) -> bool:
  """Whether a class is called by a number."""
  return bool(_NUMBER.fullmatch(name))


def parts(cell: Any, several: bool) -> list[Any]:
  """The labels in a cell.

  Raises:
    ValueError: one of several labels is empty.
  """
  if not several:
    return [cell]
  if not isinstance(cell, list):
    name_of(cell)
    cell = str(cell).split(BAR)
  if any(part is None or part == "" for part in cell):
    raise ValueError(f"{shown(cell)} has an empty name")
  return cell


class Classes:
  """Classes, and the numbers 0, 1, .. that cells' labels have in a batch.

  Args:
    names: of the classes, in order.
    stated: whether somebody stated them, so that whole numbers are positions
      where no class is called by a number.
    where: the source of the names, in a fault.

  Raises:
    UserError: two names are the same.
  """

  def __init__(self, names: Sequence[str], stated: bool, where: str):
    self._exact = {name: number for number, name in enumerate(names)}
    self._numbers = {}
    for number, name in enumerate(names):
      try:
        self._numbers.setdefault(name_of(name), number)
      except ValueError:  # a class that somebody called "nan"
        self._numbers.setdefault(name, number)
    self._where, self._size = where, len(names)
    self._counted = [*self._numbers] == [str(it) for it in range(self._size)]
    self._positions = self._counted or (
      stated and not any(map(is_number, self._numbers))
    )
    if len(self._numbers) < len(names):
      raise UserError("classes has a name twice.", exists=names)

  def label(self, value: Any) -> int:
    """A cell's class: by name, or as a position; -1 is no label.

    Raises:
      ValueError: the class does not exist.
    """
    if isinstance(value, str) and value in self._exact:
      return self._exact[value]
    name = name_of(value)
    if name in self._numbers:
      return self._numbers[name]
    if name == "-1":
      return -1
    if not (_is_whole(name) and self._positions):
      near = difflib.get_close_matches(name, self._numbers, n=1)
      guess = f"did you mean '{near[0]}'?" if near else self._where
      raise ValueError(f"no class is called {shown(value)} ({guess})")
    if not 0 <= int(name) < self._size:
      raise ValueError(
        f"label {name} is outside of the {self._size} classes, 0 to"
        f" {self._size - 1}"
      )
    return int(name)

  def labels(self, value: Any, hot: bool = False) -> np.ndarray:
    """The classes in a cell of several labels, as 1 or 0 each: i32 [K].

    Args:
      value: a list, or names separated by BAR.
      hot: whether a list has a 0 or 1 for each class.

    Raises:
      ValueError: a class does not exist, or a list has another length.
    """
    row = np.zeros(self._size, np.int32)
    if hot and isinstance(value, list):
      if len(value) != self._size or not _all_bits(value):
        raise ValueError(
          f"{shown(value)} has not a 0 or 1 for each of {self._size} classes"
        )
      row[:] = [int(bit) for bit in value]
      return row
    for part in parts(value, several=True):
      number = self.label(part)
      if number < 0:
        raise ValueError("label -1 among several")
      row[number] = 1
    return row


def hot_size(cells: Iterable[Any]) -> int:
  """The length of lists with a 0 or 1 for each class; 0 if they are others.

  Lists of one length, of 0 and 1 alone, one of which has a number twice: lists
  of classes would not.

  Args:
    cells: of a column of several labels; None is empty.
  """
  lists = [cell for cell in cells if cell is not None]
  if not lists or not all(isinstance(cell, list) for cell in lists):
    return 0
  bits = [cell for cell in lists if _all_bits(cell)]
  sizes = {len(cell) for cell in bits}
  # A few lists may be broken, or of another length; most say what they are.
  usual = max(sizes, key=[len(cell) for cell in bits].count, default=0)
  repeated = any(len({*map(int, cell)}) < len(cell) for cell in bits)
  same = sum(len(cell) == usual for cell in bits)
  return usual if repeated and usual > 1 and 2 * same > len(lists) else 0


def changed(cells: Iterable[Any]) -> dict[str, str]:
  """Text cells that are not in the form that is compared -> that form."""
  found = {}
  for cell in cells:
    if isinstance(cell, str) and not is_number(cell.strip()):
      try:
        name = name_of(cell)
      except ValueError:
        continue
      if name != cell:
        found[cell] = name
  return found


def _all_bits(cell: Sequence[Any]) -> bool:
  return all(isinstance(bit, int | float) and bit in (0, 1) for bit in cell)


def _is_whole(name: str) -> bool:
  """Whether a class is called by a number that can be a position."""
  digits = name.removeprefix("-")
  return digits.isdecimal() and len(digits) < _splits.DIGITS


def _check_case(names: Iterable[str]) -> None:
  """Raises `UserError` if names differ by case alone."""
  folded: Mapping[str, list[str]] = {}
  for name in sorted(names):
    folded.setdefault(name.casefold(), []).append(name)
  twice = [same for same in folded.values() if len(same) > 1]
  if twice:
    raise UserError(
      f"The classes {' and '.join(map(repr, twice[0]))} differ by case alone.",
      "Write them alike in the table; if they are different classes, set"
      " `classes` to the names of all.",
    )
