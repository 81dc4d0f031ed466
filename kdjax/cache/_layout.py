"""The files of a cache, in a folder or at a URL.

  cache.json                 manifest, parts and sizes
  index/                     i64 [rows], the examples' indices
  parts/<part>/              [views rows ...]
  marks/<view>.<chunk>.json  marks a finished chunk, with its checksums

Arrays are Zarr v3. One chunk is one file (a Zarr shard) and is written at
once. It holds blocks of a few rows that are compressed separately; a block is
the smallest unit that is read. Reading an unwritten row is an error.
"""

import contextlib
import json
import math
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
import tensorstore as ts

from kdjax.cache._header import Header
from kdjax.cache.manifest import check_equal, checksum
from kdjax.errors import UserError
from kdjax.types import Spec

HEADER = "cache.json"

# What tensorstore raises for data that is missing or damaged.
STORAGE_ERRORS = (ValueError, OSError)

_BLOCK_BYTES = 8 * 2**10
_BLOCK_ROWS = 512
_CHUNK_BYTES = 32 * 2**20
_CHUNK_ROWS = 2**16

_REMAKE = "Remove the cache; `kdjax cache` makes it again."


class Layout:
  """Reads and writes the files of a cache.

  Args:
    path: a folder, or a URL that tensorstore supports: gs://, s3://, file://.
    memory: bytes of read data that are kept in memory.
  """

  def __init__(self, path: str | pathlib.Path, memory: int = 0):
    self.path = str(path)
    self.context = ts.Context({"cache_pool": {"total_bytes_limit": memory}})
    if "://" in self.path:
      where = f"{self.path.rstrip('/')}/"
    else:
      folder = f"{pathlib.Path(path).expanduser().resolve()}/"
      where = {"driver": "file", "path": folder}
    try:
      self.files = ts.KvStore.open(where, context=self.context).result()
    except STORAGE_ERRORS as error:
      raise UserError(
        f"'{self.path}' cannot be opened: {error}",
        "Expected a folder, or a URL such as gs://bucket/folder.",
      ) from None

  @contextlib.contextmanager
  def writing(self) -> Iterator[None]:
    """Makes the storage's errors of writing errors of the user."""
    try:
      yield
    except STORAGE_ERRORS as error:
      raise UserError(
        f"The cache {self.path} cannot be written: {error}",
        "Expected a folder that is writable, on a disk with space.",
      ) from error

  def read(self, name: str) -> bytes | None:
    """The content of a file; None if the file does not exist."""
    result = self.files.read(name).result()
    return result.value if result.state == "value" else None

  def header(self) -> Header | None:
    """The header of the cache; None if cache.json does not exist.

    Raises:
      UserError: cache.json is damaged.
    """
    stored = self.read(HEADER)
    try:
      return None if stored is None else Header.from_bytes(stored)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
      raise UserError(
        f"'{HEADER}' of the cache {self.path} is damaged: {error}.",
        f"The content of the other files is unknown. {_REMAKE}",
      ) from None

  def write_header(self, header: Header) -> None:
    """Writes cache.json, or checks that the existing one is equal.

    Raises:
      UserError: the cache at this path has another header, or lost its own.
    """
    if self.header() is None and self.finished_chunks():
      raise UserError(
        f"The cache {self.path} has lost its '{HEADER}'.", _REMAKE
      )
    # Of processes that start at once, one writes and the others read.
    before = self.files.read(HEADER).result()
    if before.state != "value":
      self.files.write(
        HEADER, header.to_bytes(), if_equal=before.stamp.generation
      ).result()
    existing = self.header()
    check_equal(existing.manifest, header.manifest, self.path)
    for field in ("parts", "rows", "views", "chunk_rows", "index"):
      stored, expected = getattr(existing, field), getattr(header, field)
      if stored != expected:
        if field == "parts":
          stored, expected = describe(stored), describe(expected)
        raise UserError(
          f"The cache {self.path} was begun with other settings: '{field}' is "
          f"{stored} in the cache and {expected} here.",
          f"Continue with the same settings. {_REMAKE}",
        )

  def array(self, name: str, row, lengths, chunk_rows: int, create: bool):
    """Opens an array [*lengths, *row.shape], or creates it.

    Args:
      name: the array's folder.
      row: shape and dtype of a row.
      lengths: (views, rows), or (rows,).
      chunk_rows: rows in a file.
      create: whether to create a missing array.

    Raises:
      UserError: the array cannot be opened.
    """
    ones = (1,) * (len(lengths) - 1)
    little = {"name": "bytes", "configuration": {"endian": "little"}}
    sums = {"name": "crc32c"}
    zstd = {"name": "zstd", "configuration": {"level": 1}}
    sharding = {
      "chunk_shape": [*ones, block_rows(row, chunk_rows), *row.shape],
      "codecs": [little, zstd, sums],
      "index_codecs": [little, sums],
    }
    grid = {"chunk_shape": [*ones, chunk_rows, *row.shape]}
    spec = {
      "driver": "zarr3",
      "kvstore": (self.files / f"{name}/").spec().to_json(),
      "metadata": {
        "shape": [*lengths, *row.shape],
        "data_type": row.dtype.name,
        "chunk_grid": {"name": "regular", "configuration": grid},
        "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
      },
      "open": True,
      "create": create,
      # Zeros are stored like other values, so that missing data is an error.
      "fill_missing_data_reads": False,
      "store_data_equal_to_fill_value": True,
      # A finished chunk does not change: its cached data is not checked again.
      "recheck_cached_data": "open",
    }
    try:
      return ts.open(spec, context=self.context).result()
    except STORAGE_ERRORS as error:
      raise UserError(
        f"'{name}/zarr.json' of the cache {self.path} is damaged: {error}",
        "Remove this file; `kdjax cache` writes it again and keeps the rest.",
      ) from None

  def index(self, header: Header, create: bool):
    """Opens the array of the examples' indices."""
    row = jax.ShapeDtypeStruct((), np.dtype(np.int64))
    chunk_rows = default_chunk_rows({"index": row}, header.rows)
    return self.array("index", row, [header.rows], chunk_rows, create)

  def parts(self, header: Header, create: bool) -> dict[str, Any]:
    """Opens the arrays of all parts."""
    lengths = [header.views, header.rows]
    return {
      name: self.array(f"parts/{name}", row, lengths, header.chunk_rows, create)
      for name, row in header.parts.items()
    }

  def finished_chunks(self) -> set[tuple[int, int]]:
    """The (view, chunk) pairs that have a mark."""
    names = (self.files / "marks/").list().result()
    matches = (re.fullmatch(rb"(\d+)\.(\d+)\.json", name) for name in names)
    return {(int(match[1]), int(match[2])) for match in matches if match}

  def mark(self, view: int, chunk: int, parts: dict[str, np.ndarray]) -> None:
    """Marks a chunk as finished, with the checksums of its parts."""
    content = {name: checksum(rows) for name, rows in parts.items()}
    self.files.write(mark_file(view, chunk), json.dumps(content)).result()

  def checksums(self, view: int, chunk: int) -> dict[str, str]:
    """The checksums in a chunk's mark; raises ValueError if it has none."""
    content = json.loads(self.read(mark_file(view, chunk)) or b"")
    if not isinstance(content, dict):
      raise ValueError("it holds no checksums")
    return content

  def unmark(self, view: int, chunk: int) -> None:
    """Removes the mark of a chunk, so that the chunk is made again."""
    self.files.write(mark_file(view, chunk), None).result()


def chunk_file(part: str, row: Any, view: int, chunk: int) -> str:
  """The name of the file with a chunk of a part."""
  inner = ("0" for _ in row.shape)
  return "/".join(["parts", part, "c", f"{view}", f"{chunk}", *inner])


def mark_file(view: int, chunk: int) -> str:
  """The name of the file that marks a chunk as finished."""
  return f"marks/{view}.{chunk}.json"


def default_chunk_rows(parts: Spec, rows: int) -> int:
  """The default number of rows in a chunk: a power of two."""
  widest = max(map(row_bytes, parts.values()))
  fitting = min(_CHUNK_ROWS, max(1, _CHUNK_BYTES // widest))
  whole = 1 << max(rows - 1, 0).bit_length()
  return min(1 << (fitting.bit_length() - 1), whole)


def block_rows(row, chunk_rows: int) -> int:
  """The number of rows compressed together: a divisor of `chunk_rows`."""
  target = min(_BLOCK_ROWS, max(1, _BLOCK_BYTES // row_bytes(row)))
  candidates = range(1, min(4 * target, chunk_rows) + 1)
  divisors = [n for n in candidates if chunk_rows % n == 0]
  return min(divisors, key=lambda n: abs(math.log(n / target)))


def row_bytes(row) -> int:
  """The number of bytes in a row of a part, at least one."""
  return max(1, math.prod(row.shape) * row.dtype.itemsize)


def describe(parts: Mapping[str, Any]) -> str:
  """The dtypes and shapes of arrays as text."""
  return ", ".join(
    f"{name} {parts[name].dtype.name}{list(parts[name].shape)}"
    for name in sorted(parts)
  )
