"""Tables of records: CSV, TSV, JSONL (each also .gz) and Parquet.

A record that cannot be read stays in its table, with its faults, and does not
stop the reading of others.
"""

import csv
import dataclasses
import gzip
import json
import pathlib
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, TextIO

from kdjax.errors import UserError

FORMATS = (".csv", ".tsv", ".jsonl", ".parquet")


@dataclasses.dataclass(frozen=True)
class Row:
  """One record.

  Attributes:
    line: its first line in the file, from 1; for Parquet, its number.
    cells: column -> value: a string, or a value of JSON or Parquet. Empty cells
      are left out.
    faults: (column, reason) pairs; the column "" is the whole record.
  """

  line: int
  cells: Mapping[str, Any]
  faults: tuple[tuple[str, str], ...] = ()


@dataclasses.dataclass(frozen=True)
class Table:
  """The columns of a file, and its records in order."""

  columns: tuple[str, ...]
  rows: tuple[Row, ...]


def read(path: pathlib.Path, encoding: str = "utf-8") -> Table:
  """All records of a file.

  Args:
    path: with an ending of FORMATS; the first three also with .gz.
    encoding: of its text; not used for Parquet.

  Raises:
    UserError: the file as a whole cannot be read.
  """
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
    raise UserError(f"No table '{path}'.", exists=tables, near=path.name)
  try:
    if kind == ".parquet":
      return _parquet(path)
    encoding = "utf-8-sig" if encoding == "utf-8" else encoding
    opened = gzip.open if packed else open
    # Undecodable bytes are kept; `_row` reports them for their cells.
    with opened(
      path, "rt", encoding=encoding, errors="surrogateescape", newline=""
    ) as file:
      return _jsonl(file) if kind == ".jsonl" else _csv(file, kind, path.name)
  except (OSError, EOFError, zlib.error, LookupError) as error:
    raise UserError(f"The table '{path}' cannot be read: {error}.") from error
  except UnicodeError as error:
    raise UserError(
      f"The table '{path}' is not {encoding}: {error}.",
      "`encoding` is the encoding of the table's text.",
    ) from error


def _csv(file: TextIO, kind: str, name: str) -> Table:
  reader = csv.reader(
    file, delimiter="\t" if kind == ".tsv" else ",", strict=True
  )
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
  return Table(tuple(header), tuple(_csv_rows(reader, header)))


def _csv_rows(reader: Any, header: list[str]) -> Iterator[Row]:
  while True:
    line = reader.line_num + 1
    try:
      fields = next(reader)
    except StopIteration:
      return
    except csv.Error as error:
      last = reader.line_num
      lines = f" (read up to line {last})" if last > line else ""
      yield Row(line, {}, (("", f"not CSV: {error}{lines}"),))
      continue
    if not fields:
      continue  # an empty line
    if len(fields) != len(header):
      reason = f"{len(fields)} fields where the header has {len(header)}"
      yield Row(line, {}, (("", reason),))
    else:
      yield _row(line, dict(zip(header, fields, strict=True)))


def _jsonl(file: TextIO) -> Table:
  columns: dict[str, None] = {}
  rows = []
  for line, text in enumerate(file, start=1):
    if not text.strip():
      continue
    try:
      record = json.loads(text.strip())
    except json.JSONDecodeError as error:
      reason = f"not JSON: {error.msg} (character {error.pos + 1})"
      rows.append(Row(line, {}, (("", reason),)))
      continue
    except (ValueError, RecursionError) as error:
      rows.append(Row(line, {}, (("", f"not JSON: {error}"),)))
      continue
    if not isinstance(record, dict):
      reason = f"a JSON {type(record).__name__} where an object was expected"
      rows.append(Row(line, {}, (("", reason),)))
      continue
    columns.update(dict.fromkeys(record))
    rows.append(_row(line, record))
  return Table(tuple(columns), tuple(rows))


def _parquet(path: pathlib.Path) -> Table:
  import pyarrow
  from pyarrow import parquet

  try:
    table = parquet.read_table(path)
  except (pyarrow.ArrowException, OSError) as error:
    raise UserError(f"The table '{path}' is not Parquet: {error}") from error
  names = table.column_names
  columns = [_cells(table.column(name)) for name in names]
  return Table(
    tuple(names),
    tuple(
      _row(line, dict(zip(names, cells, strict=True)))
      for line, cells in enumerate(zip(*columns, strict=True), start=1)
    ),
  )


def _cells(column: Any) -> list[Any]:
  """A column of Parquet as Python values; as texts where there are none."""
  try:
    return column.to_pylist()
  except (ValueError, OverflowError):
    # A time in nanoseconds has no value in Python.
    return column.cast("string").to_pylist()


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
