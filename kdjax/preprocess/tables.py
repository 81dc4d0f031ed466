"""Tables of records: CSV, TSV, JSONL (each also .gz) and Parquet.

A record that cannot be read stays in its table, with its faults, and does not
stop the reading of others.
"""

import codecs
import dataclasses
import gzip
import json
import pathlib
import zlib
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from kdjax.errors import UserError
from kdjax.preprocess import delimited

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
  delimited.check(separator, quoting)
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
  try:
    if kind == ".parquet":
      return _parquet(path, needs)
    opened = gzip.open if packed else open
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
        return _jsonl(file, path.name)
      return _delimited(file, path.name, separator, quoting, kind == ".tsv")
  except (OSError, EOFError, zlib.error, LookupError) as error:
    raise UserError(f"The table '{path}' cannot be read: {error}.") from error
  except UnicodeError as error:
    raise UserError(
      f"The table '{path}' is not {encoding}: {error}.",
      "`encoding` is the encoding of the table's text.",
    ) from error


def _delimited(
  file: TextIO, name: str, separator: str, quoting: str, tabs: bool
) -> Table:
  separator = separator or ("\t" if tabs else ",")
  header, records = delimited.read(file, name, separator, quoting, literal=tabs)
  rows = (
    Row(line, {}, (("", fields),))
    if isinstance(fields, str)
    else _row(line, dict(zip(header, fields, strict=True)))
    for line, fields in records
  )
  return Table(tuple(header), tuple(rows))


def _jsonl(file: TextIO, name: str) -> Table:
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
  if rows and not columns:
    raise UserError(
      f"The table '{name}' has no record: line {rows[0].line} is"
      f" {rows[0].faults[0][1]}."
      if rows[0].faults
      else f"The table '{name}' has no column.",
      'Expected a JSON object in each line: {"text": "..", "label": ".."}.',
    )
  return Table(tuple(columns), tuple(rows))


def _parquet(path: pathlib.Path, needs: Callable[[str], bool]) -> Table:
  import pyarrow
  from pyarrow import parquet

  try:
    names = parquet.read_schema(path).names
    twice = {name for name in names if names.count(name) > 1}
    if twice:
      raise UserError(f"The table '{path}' has two columns '{min(twice)}'.")
    read = [name for name in names if needs(name)]
    table = parquet.read_table(path, columns=read)
  except (pyarrow.ArrowException, OSError) as error:
    raise UserError(f"The table '{path}' is not Parquet: {error}") from error
  columns = [_cells(table.column(name)) for name in read]
  return Table(
    tuple(names),
    tuple(
      _row(line, dict(zip(read, cells, strict=True)))
      for line, cells in enumerate(zip(*columns, strict=True), start=1)
    ),
    _hub_classes(table.schema.metadata or {}),
  )


def _hub_classes(
  metadata: Mapping[bytes, bytes],
) -> dict[str, tuple[str, ...]]:
  """Class names of columns, as Parquet of the Hugging Face hub states them."""
  try:
    features = json.loads(metadata[b"huggingface"])["info"]["features"]
    return {
      name: tuple(map(str, feature["names"]))
      for name, feature in features.items()
      if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
    }
  except (KeyError, TypeError, ValueError, AttributeError):
    return {}


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
