"""Parquet as records of Python values: whole, or some at a time."""

import contextlib
import json
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from kdjax.errors import UserError

# Records that `stream` decodes at once.
ROWS = 256


def columns(path: pathlib.Path) -> list[str]:
  """The names of a file's columns.

  Raises:
    UserError: it is no Parquet, or two columns have one name.
  """
  from pyarrow import parquet

  with _is_parquet(path):
    names = parquet.read_schema(path).names
  twice = {name for name in names if names.count(name) > 1}
  if twice:
    raise UserError(f"The table '{path}' has two columns '{min(twice)}'.")
  return names


def read(
  path: pathlib.Path, names: Sequence[str]
) -> tuple[Iterable[tuple], dict[str, tuple[str, ...]]]:
  """All records: the cells of some columns, and {column: names of classes}.

  Args:
    path: of the file.
    names: of the columns.

  Raises:
    UserError: it cannot be read.
  """
  from pyarrow import parquet

  with _is_parquet(path):
    table = parquet.read_table(path, columns=list(names))
  cells = [_cells(table.column(name)) for name in names]
  return zip(*cells, strict=True), _hub_classes(table.schema.metadata or {})


def stream(path: pathlib.Path, names: Sequence[str]) -> Iterator[tuple]:
  """The cells of each record, of which `ROWS` are in memory at a time.

  Args:
    path: of the file.
    names: of the columns.

  Raises:
    UserError: it cannot be read.
  """
  import pyarrow.dataset

  with _is_parquet(path):
    batches = pyarrow.dataset.dataset(path, format="parquet").to_batches(
      columns=list(names),
      batch_size=ROWS,
      batch_readahead=1,
      fragment_readahead=1,
    )
    for batch in batches:
      cells = [_cells(batch.column(name)) for name in names]
      yield from zip(*cells, strict=True)


@contextlib.contextmanager
def _is_parquet(path: pathlib.Path) -> Iterator[None]:
  """Makes errors of a file that is no Parquet errors of the user."""
  import pyarrow

  try:
    yield
  except (pyarrow.ArrowException, OSError) as error:
    raise UserError(f"The table '{path}' is not Parquet: {error}") from error


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
