"""CSV and TSV: physical lines as records of fields, with faults of lines."""

import collections
import contextlib
import csv
from collections.abc import Iterable, Iterator
from typing import Any

from kdjax.errors import UserError

QUOTING = ("auto", "always", "never")

# The longest cell.
MOST_CHARACTERS = 1 << 27


def check(separator: str, quoting: str) -> None:
  """Raises `UserError` for an impossible separator or quoting."""
  if quoting not in QUOTING:
    raise UserError(f"quoting is '{quoting}'.", exists=QUOTING, near=quoting)
  if len(separator) > 1 or separator in ('"', "\n", "\r"):
    raise UserError(
      f"separator is {separator!r}.",
      "Expected one character, such as ';'; \"\" is that of the file's ending.",
    )


def read(
  file: Iterable[str], name: str, separator: str, quoting: str, literal: bool
) -> tuple[list[str], Iterator[tuple[int, list[str] | str]]]:
  """The header, and for each record its first line and its fields.

  The records are read as they are asked for.

  Args:
    file: physical lines, with their ends.
    name: of the table, in messages.
    separator: of fields.
    quoting: one of QUOTING; see `tables.read`.
    literal: whether, with "auto", a line that is no record as it is quoted is
      one by its separators alone.

  Returns:
    (header, (line, fields) of each record); in place of the fields, the reason
    of a fault.

  Raises:
    UserError: the header cannot be read.
  """
  lines = _Lines(file)
  if quoting == "never":
    reader = csv.reader(lines, delimiter=separator, quoting=csv.QUOTE_NONE)
  else:
    reader = csv.reader(lines, delimiter=separator, strict=True)
  with _long_cells():
    try:
      header = next(reader, [])
    except csv.Error as error:
      raise UserError(
        f"The header of the table '{name}' is not CSV: {error}.",
        "Line 1 names its columns; a quote that opens must close.",
      ) from error
    if not header:
      raise UserError(
        f"The table '{name}' is empty.", "Line 1 names its columns."
      )
    twice = {column for column in header if header.count(column) > 1}
    if twice:
      raise UserError(f"The table '{name}' has two columns '{min(twice)}'.")
  between = separator if literal and quoting == "auto" else None
  return header, _records(lines, reader, len(header), between)


def _records(
  lines: "_Lines", reader: Any, count: int, separator: str | None
) -> Iterator[tuple[int, list[str] | str]]:
  """Each record; after a faulty one, the next begins at its second line.

  An opened quote would else take all lines up to the next quote, or the end of
  the file, as one record.
  """
  while True:
    lines.mark()
    line = lines.number + 1
    reason = ""
    fields: list[str] = []
    try:
      with _long_cells():
        fields = next(reader)
    except StopIteration:
      return
    except csv.Error as error:
      reason = f"not CSV: {error}"
    if not reason and not fields:
      continue  # an empty line
    if not reason and len(fields) != count:
      reason = f"{len(fields)} fields where the header has {count}"
    if not reason:
      yield line, fields
      continue
    last = lines.number
    first = lines.back()
    if last > line:
      reason += f" (read up to line {last}: a quote opens and does not close)"
    apart = first.rstrip("\r\n").split(separator) if separator else []
    yield line, apart if len(apart) == count else reason


class _Lines:
  """Physical lines of a file; those since `mark` can be read again.

  Attributes:
    number: of the line read last, from 1.
  """

  def __init__(self, file: Iterable[str]):
    self._file = iter(file)
    self._again: collections.deque[str] = collections.deque()
    self._since: list[str] = []
    self.number = 0

  def __iter__(self) -> "_Lines":
    return self

  def __next__(self) -> str:
    line = self._again.popleft() if self._again else next(self._file)
    self._since.append(line)
    self.number += 1
    return line

  def mark(self) -> None:
    """Begins a record at the next line."""
    self._since.clear()

  def back(self) -> str:
    """Goes back to the record's second line; returns the first one."""
    first, *rest = self._since
    self._again.extendleft(reversed(rest))
    self.number -= len(rest)
    del self._since[1:]
    return first


@contextlib.contextmanager
def _long_cells() -> Iterator[None]:
  """Cells of up to MOST_CHARACTERS; the module's own limit is 131,072."""
  before = csv.field_size_limit(MOST_CHARACTERS)
  try:
    yield
  finally:
    csv.field_size_limit(before)
