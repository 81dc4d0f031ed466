"""What a cache is in its folder, or behind its URL.

  cache.json                 what it is of, its parts and sizes
  index/                     i64 [rows], the examples' indices
  parts/<part>/              [views rows ...]
  marks/<view>.<chunk>.json  says that a chunk is there, and its checksums

Arrays are Zarr v3. A shard, which is a file, is a chunk: what is written at
once. In it are blocks of a few rows, each compressed by itself: what is read
for one row. What was never written is an error, and not zeros.
"""

import dataclasses
import json
import math
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tensorstore as ts

from kdjax.cache.manifest import Manifest, checksum, same
from kdjax.errors import UserError
from kdjax.types import Spec

HEADER = "cache.json"

# What tensorstore raises: what is stored cannot be had, or is not what it was.
FAULTS = (ValueError, OSError)

_BLOCK_BYTES = 8 * 2**10
_BLOCK_ROWS = 512
_CHUNK_BYTES = 32 * 2**20
_CHUNK_ROWS = 2**16

_ANEW = "Remove it, and `kdjax cache` makes it anew."


@dataclasses.dataclass(frozen=True)
class Header:
  """What stands in cache.json.

  Attributes:
    manifest: what the cache is of.
    parts: name -> shape and dtype of a row.
    rows: how many examples there are.
    views: how many times each is stored.
    chunk_rows: how many rows are written at once.
    index: the checksum of the examples' indices.
  """

  manifest: Manifest
  parts: Spec
  rows: int
  views: int
  chunk_rows: int
  index: str

  def to_bytes(self) -> bytes:
    """As JSON, with a checksum of its own."""
    content = vars(self) | {
      "manifest": self.manifest.to_json(),
      "parts": {
        name: {"shape": list(row.shape), "dtype": row.dtype.name}
        for name, row in self.parts.items()
      },
    }
    return json.dumps(content | {"checksum": _sum(content)}, indent=1).encode()

  @classmethod
  def from_bytes(cls, stored: bytes) -> "Header":
    """What `to_bytes` gave; raises ValueError where it did not."""
    content = json.loads(stored)
    if content.pop("checksum", None) != _sum(content):
      raise ValueError("its checksum is another")
    content["manifest"] = Manifest.from_json(content["manifest"])
    content["parts"] = {
      name: jax.ShapeDtypeStruct(tuple(row["shape"]), jnp.dtype(row["dtype"]))
      for name, row in content["parts"].items()
    }
    return cls(**content)


class Layout:
  """The files of a cache.

  Args:
    path: a folder, or a URL that tensorstore knows: gs://, s3://, file://.
    memory: how many bytes of what was read are kept.
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
    except FAULTS as error:
      raise UserError(
        f"'{self.path}' cannot be opened: {error}",
        "Give a folder, or a URL like gs://bucket/folder.",
      ) from None

  def read(self, name: str) -> bytes | None:
    """A file's bytes; None where there is none."""
    found = self.files.read(name).result()
    return found.value if found.state == "value" else None

  def header(self) -> Header | None:
    """What the cache is; None where there is none.

    Raises:
      UserError: cache.json is damaged.
    """
    stored = self.read(HEADER)
    try:
      return None if stored is None else Header.from_bytes(stored)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
      raise UserError(
        f"'{HEADER}' of the cache {self.path} is damaged: {error}.",
        "What the rest is of is not known. Remove the cache, and `kdjax cache`"
        " makes it anew.",
      ) from None

  def settle(self, wanted: Header) -> None:
    """Writes cache.json, or finds that the one that is there is the same."""
    if self.header() is None and self.done():
      raise UserError(f"The cache {self.path} has lost its '{HEADER}'.", _ANEW)
    # Of processes that start at once, one writes and the others read.
    before = self.files.read(HEADER).result()
    if before.state != "value":
      self.files.write(
        HEADER, wanted.to_bytes(), if_equal=before.stamp.generation
      ).result()
    found = self.header()
    same(found.manifest, wanted.manifest, self.path)
    for field in ("parts", "rows", "views", "chunk_rows", "index"):
      one, other = getattr(found, field), getattr(wanted, field)
      if one != other:
        if field == "parts":
          one, other = said(one), said(other)
        raise UserError(
          f"The cache {self.path} was begun otherwise: '{field}' is {one} "
          f"there and {other} here.",
          f"Go on as it was begun. {_ANEW}",
        )

  def array(self, name: str, row, lengths, chunk_rows: int, create: bool):
    """Opens an array [*lengths, *row.shape], or creates it.

    Args:
      name: of its folder.
      row: shape and dtype of a row.
      lengths: (views, rows), or (rows,).
      chunk_rows: rows in a file.
      create: whether to create it where it is missing.

    Raises:
      UserError: it cannot be opened.
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
      # Zeros are stored like any other number, so that to miss is an error.
      "fill_missing_data_reads": False,
      "store_data_equal_to_fill_value": True,
      # A chunk that is done does not change: it is not asked for twice.
      "recheck_cached_data": "open",
    }
    try:
      return ts.open(spec, context=self.context).result()
    except FAULTS as error:
      raise UserError(
        f"'{name}/zarr.json' of the cache {self.path} is damaged: {error}",
        "Remove this file; `kdjax cache` writes it again and keeps the rest.",
      ) from None

  def index(self, header: Header, create: bool):
    """Opens the array of the examples' indices."""
    row = jax.ShapeDtypeStruct((), np.dtype(np.int64))
    chunk_rows = rows_of_chunks({"index": row}, header.rows)
    return self.array("index", row, [header.rows], chunk_rows, create)

  def parts(self, header: Header, create: bool) -> dict[str, Any]:
    """Opens the arrays of all parts."""
    lengths = [header.views, header.rows]
    return {
      name: self.array(f"parts/{name}", row, lengths, header.chunk_rows, create)
      for name, row in header.parts.items()
    }

  def done(self) -> set[tuple[int, int]]:
    """The (view, chunk) that have a mark."""
    names = (self.files / "marks/").list().result()
    found = (re.fullmatch(rb"(\d+)\.(\d+)\.json", name) for name in names)
    return {(int(one[1]), int(one[2])) for one in found if one}

  def mark(self, view: int, chunk: int, parts: dict[str, np.ndarray]) -> None:
    """Says that a chunk is on disk."""
    content = {name: checksum(rows) for name, rows in parts.items()}
    self.files.write(mark_of(view, chunk), json.dumps(content)).result()

  def marked(self, view: int, chunk: int) -> dict[str, str]:
    """The checksums of a chunk; raises ValueError where its mark has none."""
    content = json.loads(self.read(mark_of(view, chunk)) or b"")
    if not isinstance(content, dict):
      raise ValueError("there are no checksums in it")
    return content

  def forget(self, view: int, chunk: int) -> None:
    """Removes the mark of a chunk, so that it is made anew."""
    self.files.write(mark_of(view, chunk), None).result()


def file_of(part: str, row: Any, view: int, chunk: int) -> str:
  """The name of the file of a chunk of a part."""
  inner = ("0" for _ in row.shape)
  return "/".join(["parts", part, "c", f"{view}", f"{chunk}", *inner])


def mark_of(view: int, chunk: int) -> str:
  """The name of the file that marks a chunk."""
  return f"marks/{view}.{chunk}.json"


def rows_of_chunks(parts: Spec, rows: int) -> int:
  """How many rows to write at once where nobody says: a power of two."""
  widest = max(map(row_bytes, parts.values()))
  wanted = min(_CHUNK_ROWS, max(1, _CHUNK_BYTES // widest))
  whole = 1 << max(rows - 1, 0).bit_length()
  return min(1 << (wanted.bit_length() - 1), whole)


def block_rows(row, chunk_rows: int) -> int:
  """How many rows are compressed together: a divisor of a chunk's."""
  wanted = min(_BLOCK_ROWS, max(1, _BLOCK_BYTES // row_bytes(row)))
  few = range(1, min(4 * wanted, chunk_rows) + 1)
  divisors = [n for n in few if chunk_rows % n == 0]
  return min(divisors, key=lambda n: abs(math.log(n / wanted)))


def row_bytes(row) -> int:
  """How many bytes a row of a part has, at least one."""
  return max(1, math.prod(row.shape) * row.dtype.itemsize)


def said(parts: Mapping[str, Any]) -> str:
  """The dtypes and shapes of some arrays, in words."""
  return ", ".join(
    f"{name} {parts[name].dtype.name}{list(parts[name].shape)}"
    for name in sorted(parts)
  )


def _sum(content: dict[str, Any]) -> str:
  whole = json.dumps(content, sort_keys=True).encode()
  return checksum(np.frombuffer(whole, np.uint8))
