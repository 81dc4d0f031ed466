"""A teacher's outputs on disk, or behind a URL: written once, read at random.

Of each example and view there is one row in every part. Rows are written in
chunks, by any number of processes at once, each its own.
"""

import functools
import math
import pathlib

import jax
import numpy as np

from kdjax.cache import _layout
from kdjax.cache._layout import FAULTS, Header, Layout, said
from kdjax.cache._rows import Damage, Rows
from kdjax.cache.manifest import Manifest, checksum
from kdjax.errors import ShapeError, UserError
from kdjax.types import Spec

Path = str | pathlib.Path
Chunk = tuple[int, int]
Parts = dict[str, np.ndarray]


class Writer:
  """Makes a cache, or goes on with one that was cut off.

  A chunk is flushed before it is marked as done. One without a mark is written
  anew, whatever there is of it.

  Args:
    path: a folder, or a URL: gs://bucket/folder, s3://bucket/folder.
    manifest: what the cache is of.
    parts: name -> shape and dtype of a row.
    index: int [rows], the examples' indices, each once.
    views: how many times each example is stored.
    chunk_rows: how many rows are written at once; None: about 32 MB of the
      widest part.

  Raises:
    UserError: the path has a cache of something else.
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
        f"A cache of {rows} examples, {views} views and {len(parts)} parts.",
        "It has at least one of each.",
      )
    if len(np.unique(self.index)) < rows:
      raise UserError(
        "An index stands for two examples.", "Every example has its own."
      )
    chunk_rows = chunk_rows or _layout.rows_of_chunks(parts, rows)
    self.header = Header(
      manifest, dict(parts), rows, views, chunk_rows, checksum(self.index)
    )
    self.layout = Layout(path)
    self.layout.settle(self.header)
    self._write_index()
    self.arrays = self.layout.parts(self.header, create=True)

  def _write_index(self) -> None:
    array = self.layout.index(self.header, create=True)
    try:
      there = np.array_equal(array.read().result(), self.index)
    except FAULTS:
      there = False
    if not there:
      array.write(self.index).result()

  def chunks(self) -> list[Chunk]:
    """All (view, chunk)."""
    many = math.ceil(self.header.rows / self.header.chunk_rows)
    return [(v, c) for v in range(self.header.views) for c in range(many)]

  def missing(self) -> list[Chunk]:
    """The (view, chunk) that are not done, by this process or another."""
    done = self.layout.done()
    return [one for one in self.chunks() if one not in done]

  def host_part(self, process: int, processes: int) -> list[Chunk]:
    """What is missing of one process's share, which others leave alone."""
    missing = {*self.missing()}
    return [one for one in self.chunks()[process::processes] if one in missing]

  def rows(self, chunk: int) -> slice:
    """Which rows, of `index`, a chunk has."""
    start = chunk * self.header.chunk_rows
    return slice(start, min(start + self.header.chunk_rows, self.header.rows))

  def write(self, view: int, chunk: int, parts: Parts) -> None:
    """Writes a chunk, flushes it, and marks it as done.

    Args:
      view: 0 .. views - 1.
      chunk: one of `chunks`.
      parts: name -> [those of `rows(chunk)` ...].

    Raises:
      ShapeError: a part is missing, or has another shape or dtype.
    """
    rows = self.rows(chunk)
    self._check(parts, rows.stop - rows.start)
    # A mark never stands for what is being overwritten.
    self.layout.forget(view, chunk)
    started = [
      array[view, rows].write(parts[name])
      for name, array in self.arrays.items()
    ]
    for one in started:
      one.result()
    self.layout.mark(view, chunk, parts)

  def _check(self, parts: Parts, count: int) -> None:
    wanted = {
      name: jax.ShapeDtypeStruct((count, *row.shape), row.dtype)
      for name, row in self.header.parts.items()
    }
    if said(parts) != said(wanted):
      raise ShapeError(
        f"A chunk of {said(parts)}.", f"This one is {said(wanted)}."
      )

  def forget(self, view: int, chunk: int) -> None:
    """Removes a chunk's mark: it is missing again."""
    self.layout.forget(view, chunk)

  def finish(self) -> None:
    """Returns where all is done.

    Raises:
      UserError: something is missing.
    """
    _finished(self.layout.path, len(self.missing()), len(self.chunks()))


class Reader:
  """Reads a cache at random. Threads may share one, and it may be pickled.

  Args:
    path: as that of `Writer`.
    unfinished: whether to open a cache of which something is missing.
    memory: how many bytes of what was read are kept, for when they are asked
      for again. The process grows by about four times as much.

  Attributes:
    manifest: what the cache is of.
    parts: name -> shape and dtype of a row.
    index: i64 [rows], the examples' indices.
    views: how many times each example is stored.
    complete: whether all is there.

  Raises:
    UserError: there is no cache, or an unfinished or a damaged one.
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
    done = self.layout.done()
    self._done = np.zeros(
      (header.views, math.ceil(header.rows / header.chunk_rows)), bool
    )
    for view, chunk in np.ndindex(self._done.shape):
      self._done[view, chunk] = (view, chunk) in done
    self.complete = bool(self._done.all())
    if not unfinished:
      _finished(path, int((~self._done).sum()), self._done.size)
    self.index = self._read_index()
    self._order = np.argsort(self.index, kind="stable")
    self._rows = Rows(self.layout, header)

  def __reduce__(self):
    path, options = self._arguments
    return functools.partial(Reader, **options), (path,)

  def _read_index(self) -> np.ndarray:
    array = self.layout.index(self.header, create=False)
    reason = "its checksum is another"
    try:
      index = array.read().result()
      if checksum(index) == self.header.index:
        return index
    except FAULTS as error:
      reason = str(error)
    raise UserError(
      f"The index of the cache {self.layout.path} is damaged: {reason}.",
      "`kdjax cache` writes it again and keeps the rest.",
    )

  def positions(self, index: np.ndarray) -> np.ndarray:
    """The rows of examples, of which `index` has the indices.

    Raises:
      UserError: the cache lacks an example.
    """
    index = np.asarray(index)
    places = np.searchsorted(self.index, index, sorter=self._order)
    rows = self._order[np.minimum(places, len(self.index) - 1)]
    lost = index[self.index[rows] != index]
    if lost.size:
      more = f" and {lost.size - 1} more" if lost.size > 1 else ""
      raise UserError(
        f"The cache {self.layout.path} has no example of index "
        f"{lost[0]}{more}.",
        f"It holds {len(self.index)} examples of the split "
        f"'{self.manifest.split}', of indices {self.index.min()} to "
        f"{self.index.max()}.",
      )
    return rows

  def take(self, index: np.ndarray, view: np.ndarray) -> Parts:
    """The rows of some examples.

    Args:
      index: int [B], of the examples.
      view: int [B], from 0; they come again after the last that is stored.

    Returns:
      {part: [B ...]}.

    Raises:
      UserError: the cache lacks an example, or a row cannot be read.
    """
    rows, views = self.positions(index), np.asarray(view) % self.views
    self._check_done(views, rows)
    # All parts are read at once, and all rows of a part.
    started = {
      name: array[views, rows].read()
      for name, array in self._rows.arrays.items()
    }
    return self._rows.finished(started, views, rows)

  def whole(self) -> Parts:
    """All rows of all parts {part: [views rows ...]}, for a small cache.

    Raises:
      UserError: the cache is unfinished, or a row cannot be read.
    """
    _finished(self.layout.path, int((~self._done).sum()), self._done.size)
    views, rows = np.indices((self.views, self.header.rows)).reshape(2, -1)
    started = {name: one.read() for name, one in self._rows.arrays.items()}
    return self._rows.finished(started, views, rows)

  def _check_done(self, views: np.ndarray, rows: np.ndarray) -> None:
    if self.complete:
      return
    lost = ~self._done[views, rows // self.header.chunk_rows]
    if lost.any():
      raise UserError(
        f"The cache {self.layout.path} is unfinished: example "
        f"{self.index[rows[lost][0]]} of view {views[lost][0]} is missing.",
        "`kdjax cache` goes on with it.",
      )

  def verify_checksums(self) -> list[Damage]:
    """Reads all chunks that are done, and compares them with their marks."""
    return self._rows.verify(np.argwhere(self._done).tolist())

  def forget(self, view: int, chunk: int) -> None:
    """Removes a chunk's mark: `kdjax cache` makes it again."""
    self.layout.forget(view, chunk)
    self._done[view, chunk] = False
    self.complete = False


def _finished(path: Path, missing: int, chunks: int) -> None:
  """Raises a `UserError` where something is missing."""
  if missing:
    raise UserError(
      f"The cache {path} is unfinished: {missing} of {chunks} chunks are "
      "missing.",
      "`kdjax cache` goes on with it.",
    )
