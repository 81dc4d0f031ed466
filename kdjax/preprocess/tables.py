"""Tables of records: CSV, TSV, JSONL (each also .gz) and Parquet.

A record that cannot be read stays in its table, with its faults, and does not
stop the reading of others. `read` gives a table, `stream` its records one after
the other.
"""

import codecs
import contextlib
import dataclasses
import gzip
import json
import pathlib
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TextIO

from kdjax.errors import UserError
from kdjax.preprocess import delimited, parquet

FORMATS = (".csv", ".tsv", ".jsonl", ".parquet")


@dataclasses.dataclass(frozen=True)
class Row:
  """One record.

  Attributes:
    line: its first line in the file, from 1; for Parquet, its number.
    cells: column -> value: a string, or a value of JSON or Parquet. Empty cells
      are left out.
    faults: (column, reason) pairs; the column "" is the whole record.
    file: relative to the root, if a table is of several; else "".
  """

  line: int
  cells: Mapping[str, Any]
  faults: tuple[tuple[str, str], ...] = ()
  file: str = ""


@dataclasses.dataclass(frozen=True)
class Table:
  """The columns of a file, and its records in order.

  Attributes:
    columns: their names.
    rows: the records.
    classes: column -> names of its classes 0, 1, ..., where the file has them.
  """

  columns: tuple[str, ...]
  rows: tuple[Row, ...]
  classes: Mapping[str, tuple[str, ...]] = dataclasses.field(
    default_factory=dict
  )


@dataclasses.dataclass
class Header:
  """What `stream` finds out beside the records.

  Attributes:
    columns: their names, in order; of JSONL, those of the records so far.
  """

  columns: dict[str, None] = dataclasses.field(default_factory=dict)


def read(
  path: pathlib.Path,
  encoding: str = "utf-8",
  *,
  separator: str = "",
  quoting: str = "auto",
  needs: Callable[[str], bool] = lambda _: True,
) -> Table:
  """All records of a file.

  Args:
    path: with an ending of FORMATS; the first three also with .gz.
    encoding: of its text; not used for Parquet.
    separator: of CSV: one character; "" is a comma, in .tsv a tab.
    quoting: of CSV: "always" reads a cell that starts with a quote up to the
      closing one, over several lines; "never" takes quotes as characters;
      "auto" is "always", but for a line of a .tsv that is a record without it
      and none with it.
    needs: whether a column's cells are needed; of Parquet, others are not read.

  Raises:
    UserError: the file as a whole cannot be read.
  """
  if _kind(path) == ".parquet":
    with _readable(path, encoding):
      return _parquet(path, needs)
  header = Header()
  of_csv = {"separator": separator, "quoting": quoting}
  rows = tuple(stream(path, encoding, **of_csv, header=header))
  return Table(tuple(header.columns), rows)


def stream(
  path: pathlib.Path,
  encoding: str = "utf-8",
  *,
  separator: str = "",
  quoting: str = "auto",
  needs: Callable[[str], bool] = lambda _: True,
  header: Header | None = None,
) -> Iterator[Row]:
  """The records of a file one after the other: few are in memory at a time.

  Args:
    path, encoding, separator, quoting, needs: as in `read`.
    header: gets the columns before the first record is given.

  Raises:
    UserError: the file as a whole cannot be read.
  """
  header = Header() if header is None else header
  delimited.check(separator, quoting)
  kind = _kind(path)
  with _readable(path, encoding):
    if kind == ".parquet":
      yield from _batches(path, needs, header)
      return
    opened = gzip.open if path.suffix.lower() == ".gz" else open
    if encoding == "utf-8":
      encoding = "utf-8-sig"
      with opened(path, "rb") as file:
        if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
          raise UserError(
            f"The table '{path}' is UTF-16.", "Set encoding='utf-16'."
          )
    # Undecodable bytes are kept; `_row` reports them for their cells.
    with opened(
      path, "rt", encoding=encoding, errors="surrogateescape", newline=""
    ) as file:
      if kind == ".jsonl":
        yield from _jsonl(file, path.name, header)
      else:
        separator = separator or ("\t" if kind == ".tsv" else ",")
        tabs = kind == ".tsv"
        yield from _delimited(file, path.name, separator, quoting, tabs, header)


def columns(
  path: pathlib.Path, encoding: str = "utf-8", **options
) -> list[str]:
  """The names of a file's columns.

  Args:
    path: as in `read`; JSONL is read to its end, of others the first record.
    encoding: as in `read`.
    **options: of `stream`.

  Raises:
    UserError: the file as a whole cannot be read.
  """
  header = Header()
  for _ in stream(path, encoding, header=header, **options):
    if _kind(path) != ".jsonl":
      break
  return list(header.columns)


def _kind(path: pathlib.Path) -> str:
  """One of FORMATS; raises `UserError` for another file, or none."""
  suffixes = [suffix.lower() for suffix in path.suffixes]
  packed = suffixes[-1:] == [".gz"]
  kind = "".join(suffixes[:-1][-1:] if packed else suffixes[-1:])
  if kind not in FORMATS or (packed and kind == ".parquet"):
    raise UserError(
      f"'{path.name}' is no table by its ending.",
      "The first three may also end in .gz.",
      exists=FORMATS,
    )
  if not path.is_file():
    files = path.parent.glob("*") if path.parent.is_dir() else ()
    tables = [file.name for file in files if {*file.suffixes} & {*FORMATS}]
    hint = "" if path.parts[:1] != ("~",) else " '~' is not expanded."
    raise UserError(f"No table '{path}'.{hint}", exists=tables, near=path.name)
  return kind


@contextlib.contextmanager
def _readable(path: pathlib.Path, encoding: str) -> Iterator[None]:
  """Makes errors of reading a file errors of the user."""
  try:
    yield
  except (OSError, EOFError, zlib.error, LookupError) as error:
    raise UserError(f"The table '{path}' cannot be read: {error}.") from error
  except UnicodeError as error:
    raise UserError(
      f"The table '{path}' is not {encoding}: {error}.",
      "`encoding` is the encoding of the table's text.",
    ) from error


def _delimited(
  file: TextIO,
  name: str,
  separator: str,
  quoting: str,
  tabs: bool,
  header: Header,
) -> Iterator[Row]:
  names, records = delimited.read(file, name, separator, quoting, literal=tabs)
  header.columns.update(dict.fromkeys(names))
  for line, fields in records:
    if isinstance(fields, str):
      yield Row(line, {}, (("", fields),))
    else:
      yield _row(line, dict(zip(names, fields, strict=True)))


def _jsonl(file: TextIO, name: str, header: Header) -> Iterator[Row]:
  first = None
  for line, text in enumerate(file, start=1):
    if not text.strip():
      continue
    row = _json_row(line, text.strip(), header)
    first = row if first is None else first
    yield row
  if first is not None and not header.columns:
    raise UserError(
      f"The table '{name}' has no record: line {first.line} is"
      f" {first.faults[0][1]}."
      if first.faults
      else f"The table '{name}' has no column.",
      'Expected a JSON object in each line: {"text": "..", "label": ".."}.',
    )


def _json_row(line: int, text: str, header: Header) -> Row:
  try:
    record = json.loads(text)
  except json.JSONDecodeError as error:
    reason = f"not JSON: {error.msg} (character {error.pos + 1})"
    return Row(line, {}, (("", reason),))
  except (ValueError, RecursionError) as error:
    return Row(line, {}, (("", f"not JSON: {error}"),))
  if not isinstance(record, dict):
    reason = f"a JSON {type(record).__name__} where an object was expected"
    return Row(line, {}, (("", reason),))
  header.columns.update(dict.fromkeys(record))
  return _row(line, record)


def _parquet(path: pathlib.Path, needs: Callable[[str], bool]) -> Table:
  names = parquet.columns(path)
  read = [name for name in names if needs(name)]
  records, classes = parquet.read(path, read)
  rows = (
    _row(line, dict(zip(read, cells, strict=True)))
    for line, cells in enumerate(records, start=1)
  )
  return Table(tuple(names), tuple(rows), classes)


def _batches(
  path: pathlib.Path, needs: Callable[[str], bool], header: Header
) -> Iterator[Row]:
  names = parquet.columns(path)
  header.columns.update(dict.fromkeys(names))
  read = [name for name in names if needs(name)]
  for line, cells in enumerate(parquet.stream(path, read), start=1):
    yield _row(line, dict(zip(read, cells, strict=True)))


def _row(line: int, cells: Mapping[str, Any]) -> Row:
  """A record without its empty cells and undecodable texts."""
  kept, faults = {}, []
  for column, value in cells.items():
    if value is None or value == "":
      continue
    reason = _undecodable(value) if isinstance(value, str) else None
    if reason:
      faults.append((column, reason))
    else:
      kept[column] = value
  return Row(line, kept, tuple(faults))


def _undecodable(value: str) -> str | None:
  """The reason why a string is not in its file's encoding, or None."""
  try:
    value.encode()
  except UnicodeEncodeError as error:
    code = ord(value[error.start])
    if 0xDC80 <= code <= 0xDCFF:  # a byte kept by surrogateescape
      return (
        f"text in another encoding (byte 0x{code - 0xDC00:02x} at character"
        f" {error.start + 1})"
      )
    return f"text with half a character (at character {error.start + 1})"
  return None
