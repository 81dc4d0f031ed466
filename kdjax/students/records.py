"""Files and lines as records of a student, one after the other."""

import dataclasses
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from kdjax.errors import UserError
from kdjax.students.inputs import TEXT, Input
from kdjax.students.student import Student

# Bytes in which a file that is no text has a zero.
_START = 1024


@dataclasses.dataclass(frozen=True)
class Record:
  """One record to predict.

  Attributes:
    where: what tells it from others in the output: column -> value.
    values: as in `Student.predict`.
    fault: why it cannot be read; "" if nothing is wrong yet.
  """

  where: Mapping[str, Any]
  values: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  fault: str = ""


def input_of(student: Student, key: str = "") -> Input:
  """The input of a student that each file, or each line, is.

  Args:
    student: to be called.
    key: of an input; "" is the only one that can be read.

  Raises:
    UserError: there are several, or others are needed too.
  """
  found = student.readable()
  keys = [it.key for it in found]
  name = student.signature.name
  if not key and len(found) > 1:
    raise UserError(
      f"The student '{name}' reads several inputs: {', '.join(keys)}.",
      f"Name that of the files, as in --input={keys[0]}, or give all in a"
      " table: --manifest=table.csv.",
    )
  chosen = student.signature[key or keys[0]]
  if chosen.key not in keys:
    raise UserError(
      f"No file holds the input '{key}' of the student '{name}'.",
      "Its data set computes it. Call kdjax.student(..) with arrays.",
      exists=keys,
    )
  needed = [
    it.key
    for it in student.signature.inputs
    if it.key != chosen.key and not it.optional
  ]
  if needed:
    raise UserError(
      f"The student '{name}' needs {', '.join(needed)} beside '{chosen.key}'.",
      "Give all in a table: --manifest=table.csv.",
    )
  return chosen


def check_files(paths: Sequence[str]) -> None:
  """Raises `UserError` if none of several paths is a file."""
  if any(os.path.isfile(path) for path in paths):
    return
  if os.path.isdir(paths[0]):
    raise UserError(
      f"'{paths[0]}' is a folder.",
      f"Name its files: {os.path.join(paths[0], '*')}",
    )
  raise UserError(
    f"No file '{paths[0]}'.",
    "Expected files. Texts and long lists of paths are lines of standard"
    " input, which is '-'.",
  )


def of_files(it: Input, paths: Iterable[str | bytes]) -> Iterator[Record]:
  """A record of each file; of a text, of each line of each file.

  Args:
    it: what the files are.
    paths: of the files.
  """
  for path in paths:
    where = {"file": shown(path)}
    if it.kind != TEXT:
      yield Record(where, {it.key: os.fsdecode(path)})
      continue
    try:
      with open(path, "rb") as file:
        if b"\0" in file.read(_START):
          raise ValueError("not a text file")
        if not file.tell():
          raise ValueError("an empty file")
        file.seek(0)
        for record in of_texts(it, file):
          yield dataclasses.replace(record, where={**where, **record.where})
    except (OSError, ValueError) as error:
      reason = getattr(error, "strerror", None) or f"{error}"
      yield Record({**where, "line": "", it.key: ""}, fault=reason)


def of_lines(it: Input, lines: Iterable[bytes]) -> Iterator[Record]:
  """A record of each line: of a text, or of a path.

  Args:
    it: what the lines are, or the files.
    lines: with their ends.
  """
  if it.kind == TEXT:
    return of_texts(it, lines)
  paths = (line.rstrip(b"\r\n") for line in lines)
  return of_files(it, (path for path in paths if path))


def of_texts(it: Input, lines: Iterable[bytes]) -> Iterator[Record]:
  """A record of each line of a text in UTF-8; an empty one is a fault."""
  for number, line in enumerate(lines, start=1):
    line = line.rstrip(b"\r\n")
    if number == 1:
      line = line.removeprefix(b"\xef\xbb\xbf")
    where = {"line": number, it.key: shown(line)}
    try:
      text = line.decode()
    except UnicodeDecodeError as error:
      reason = f"not UTF-8 (byte 0x{line[error.start]:02x})"
      yield Record(where, fault=reason)
      continue
    fault = "" if text.strip() else "an empty line"
    yield Record(where, {it.key: text}, fault)


def shown(text: str | bytes) -> str:
  """A path or a text, with a sign in place of what is no UTF-8."""
  raw = os.fsencode(text) if isinstance(text, str) else text
  return raw.decode(errors="replace")
