"""A teacher's outputs on disk or at a URL: written once, read at random.

Every part has one row for each example and view. Rows are written in chunks;
several processes may write chunks at the same time, each its own.
"""

import functools
import math
import pathlib

import jax
import numpy as np

from kdjax.cache import _layout
from kdjax.cache._header import Header
from kdjax.cache._layout import STORAGE_ERRORS, Layout, describe
from kdjax.cache._rows import Damage, Rows
from kdjax.cache.manifest import Manifest, checksum
from kdjax.errors import ShapeError, UserError
from kdjax.types import Spec

Path = str | pathlib.Path
Chunk = tuple[int, int]
Parts = dict[str, np.ndarray]


class Writer:
  """Writes a cache, or continues an unfinished one.

  A chunk is flushed before it is marked as finished. A chunk without a mark is
  written again, whatever its files hold.

  Args:
    path: a folder, or a URL: gs://bucket/folder, s3://bucket/folder.
    manifest: teacher, data and augmentation of the cache.
    parts: name -> shape and dtype of a row.
    index: int [rows], the examples' indices, each once.
    views: number of stored views of each example.
    chunk_rows: rows in a chunk; None: about 32 MB of the widest part.

  Raises:
    UserError: the path holds another cache.
  """

  def __init__(
    self,
    path: Path,
    manifest: Manifest,
    parts: Spec,
    index: np.ndarray,
    views: int,
    *,
    chunk_rows: int | None = None,
  ):
    self.index = np.asarray(index).astype(np.int64)
    rows = len(self.index)
    if rows == 0 or views < 1 or not parts:
      raise UserError(
        f"The cache has {rows} examples, {views} views and {len(parts)} parts.",
        "Expected at least one of each.",
      )
    if len(np.unique(self.index)) < rows:
      raise UserError(
        "Two examples have the same index.", "Expected distinct indices."
      )
    chunk_rows = chunk_rows or _layout.default_chunk_rows(parts, rows)
    self.header = Header(
      manifest, dict(parts), rows, views, chunk_rows, checksum(self.index)
    )
    self.layout = Layout(path)
    with self.layout.writing():
      self.layout.write_header(self.header)
      self._write_index()
      self.arrays = self.layout.parts(self.header, create=True)

  def _write_index(self) -> None:
    array = self.layout.index(self.header, create=True)
    try:
      written = np.array_equal(array.read().result(), self.index)
    except STORAGE_ERRORS:
      written = False
    if not written:
      array.write(self.index).result()

  def chunks(self) -> list[Chunk]:
    """All (view, chunk) pairs."""
    count = math.ceil(self.header.rows / self.header.chunk_rows)
    return [*np.ndindex(self.header.views, count)]

  def missing(self) -> list[Chunk]:
    """The (view, chunk) pairs that no process has finished."""
    finished = self.layout.finished_chunks()
    return [pair for pair in self.chunks() if pair not in finished]

  def missing_of_process(self, process: int, processes: int) -> list[Chunk]:
    """The missing chunks of one process's share; shares do not overlap."""
    missing = {*self.missing()}
    share = self.chunks()[process::processes]
    return [pair for pair in share if pair in missing]

  def rows(self, chunk: int) -> slice:
    """The rows of a chunk, as positions in `index`."""
    start = chunk * self.header.chunk_rows
    return slice(start, min(start + self.header.chunk_rows, self.header.rows))

  def write(self, view: int, chunk: int, parts: Parts) -> None:
    """Writes a chunk, flushes it, and marks it as finished.

    Args:
      view: 0 .. views - 1.
      chunk: the chunk's number.
      parts: name -> the rows `rows(chunk)` [N ...].

    Raises:
      UserError: a part is missing or differs in shape or dtype; a full disk.
    """
    rows = self.rows(chunk)
    self._check(parts, rows.stop - rows.start)
    with self.layout.writing():
      # A chunk that is being overwritten has no mark.
      self.layout.unmark(view, chunk)
      arrays = self.arrays.items()
      futures = [it[view, rows].write(parts[name]) for name, it in arrays]
      for future in futures:
        future.result()
      self.layout.mark(view, chunk, parts)

  def _check(self, parts: Parts, count: int) -> None:
    expected = {
      name: jax.ShapeDtypeStruct((count, *row.shape), row.dtype)
      for name, row in self.header.parts.items()
    }
    if describe(parts) != describe(expected):
      raise ShapeError(
        f"The chunk to write is {describe(parts)}.",
        f"Expected {describe(expected)}.",
      )

  def invalidate(self, view: int, chunk: int) -> None:
    """Removes a chunk's mark, so that the chunk is missing again."""
    self.layout.unmark(view, chunk)

  def finish(self) -> None:
    """Checks that no chunk is missing.

    Raises:
      UserError: chunks are missing.
    """
    _check_finished(self.layout.path, len(self.missing()), len(self.chunks()))


class Reader:
  """Reads a cache at random. Threads may share it, and it may be pickled.

  Args:
    path: a folder or URL, as for `Writer`.
    unfinished: whether to open a cache with missing chunks.
    memory: bytes of read data that are kept in memory. The process grows by
      about four times this size.

  Attributes:
    manifest: teacher, data and augmentation of the cache.
    parts: name -> shape and dtype of a row.
    index: i64 [rows], the examples' indices.
    views: number of stored views of each example.
    complete: whether no chunk is missing.

  Raises:
    UserError: the cache does not exist, is unfinished or is damaged.
  """

  def __init__(
    self, path: Path, *, unfinished: bool = False, memory: int = 64 * 2**20
  ):
    self._arguments = path, {"unfinished": unfinished, "memory": memory}
    self.layout = Layout(path, memory)
    header = self.layout.header()
    if header is None:
      raise UserError(f"No cache at {path}.", "`kdjax cache` makes one.")
    self.header = header
    self.manifest, self.parts = header.manifest, header.parts
    self.views = header.views
    chunks = math.ceil(header.rows / header.chunk_rows)
    self._finished = np.zeros((header.views, chunks), bool)
    for view, chunk in self.layout.finished_chunks():
      if view < header.views and chunk < chunks:
        self._finished[view, chunk] = True
    self.complete = bool(self._finished.all())
    if not unfinished:
      self._check_complete()
    self.index = self._read_index()
    self._order = np.argsort(self.index, kind="stable")
    self._rows = Rows(self.layout, header)

  def __reduce__(self):
    path, options = self._arguments
    return functools.partial(Reader, **options), (path,)

  def _read_index(self) -> np.ndarray:
    reason = "its checksum does not match"
    try:
      index = self.layout.index(self.header, create=False).read().result()
      if checksum(index) == self.header.index:
        return index
    except STORAGE_ERRORS as error:
      reason = str(error)
    raise UserError(
      f"The index of the cache {self.layout.path} is damaged: {reason}.",
      "`kdjax cache` writes it again and keeps the rest.",
    )

  def positions(self, index: np.ndarray) -> np.ndarray:
    """The rows of the examples with some indices.

    Raises:
      UserError: the cache lacks an example.
    """
    index = np.asarray(index)
    ranks = np.searchsorted(self.index, index, sorter=self._order)
    rows = self._order[np.minimum(ranks, len(self.index) - 1)]
    missing = index[self.index[rows] != index]
    if missing.size:
      more = f" and {missing.size - 1} more" if missing.size > 1 else ""
      raise UserError(
        f"The cache {self.layout.path} has no example with index "
        f"{missing[0]}{more}.",
        f"It holds {len(self.index)} examples of the split "
        f"'{self.manifest.split}', with indices {self.index.min()} to "
        f"{self.index.max()}.",
      )
    return rows

  def take(self, index: np.ndarray, view: np.ndarray) -> Parts:
    """Reads the rows of some examples.

    Args:
      index: int [B], the examples' indices.
      view: int [B], the views, from 0; taken modulo the stored views.

    Returns:
      {part: [B ...]}.

    Raises:
      UserError: the cache lacks an example, or a row cannot be read.
    """
    rows, views = self.positions(index), np.asarray(view) % self.views
    self._check_rows(views, rows)
    # All parts are read at once, and all rows of a part.
    arrays = self._rows.arrays.items()
    futures = {part: array[views, rows].read() for part, array in arrays}
    return self._rows.results(futures, views, rows)

  def read_all(self) -> Parts:
    """All rows of all parts {part: [views rows ...]}, for a small cache.

    Raises:
      UserError: the cache is unfinished, or a row cannot be read.
    """
    self._check_complete()
    views, rows = np.indices((self.views, self.header.rows)).reshape(2, -1)
    futures = {part: array.read() for part, array in self._rows.arrays.items()}
    return self._rows.results(futures, views, rows)

  def _check_complete(self) -> None:
    """Raises `UserError` for missing chunks."""
    missing = int((~self._finished).sum())
    _check_finished(self.layout.path, missing, self._finished.size)

  def _check_rows(self, views: np.ndarray, rows: np.ndarray) -> None:
    """Raises `UserError` for rows in a missing chunk."""
    if self.complete:
      return
    missing = ~self._finished[views, rows // self.header.chunk_rows]
    if missing.any():
      raise UserError(
        f"The cache {self.layout.path} is unfinished: example "
        f"{self.index[rows[missing][0]]} is missing in view "
        f"{views[missing][0]}.",
        "`kdjax cache` continues it.",
      )

  def verify_checksums(self) -> list[Damage]:
    """Reads all finished chunks and compares their checksums."""
    return self._rows.verify(np.argwhere(self._finished).tolist())

  def invalidate(self, view: int, chunk: int) -> None:
    """Removes a chunk's mark: `kdjax cache` makes the chunk again."""
    self.layout.unmark(view, chunk)
    self._finished[view, chunk] = False
    self.complete = False


def _check_finished(path: Path, missing: int, chunks: int) -> None:
  """Raises `UserError` for missing chunks."""
  if missing:
    raise UserError(
      f"The cache {path} is unfinished: {missing} of {chunks} chunks are "
      "missing.",
      "`kdjax cache` continues it.",
    )
