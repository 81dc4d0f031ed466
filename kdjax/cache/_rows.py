"""The rows of a cache on disk, and the detection of damaged ones."""

import dataclasses
from collections.abc import Iterable

import numpy as np

from kdjax.cache import _layout
from kdjax.cache._header import Header
from kdjax.cache._layout import STORAGE_ERRORS, Layout, mark_file
from kdjax.cache.manifest import checksum
from kdjax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Damage:
  """Rows of a cache that are unreadable or differ from what was written.

  Attributes:
    view, chunk: position of the rows' chunk.
    rows: first and last row, as positions in `Reader.index`.
    part: name of the part; "" for a damaged mark.
    file: name of the file in the cache.
    reason: the error.
  """

  view: int
  chunk: int
  rows: tuple[int, int]
  part: str
  file: str
  reason: str

  def __str__(self) -> str:
    what = f"the part '{self.part}'" if self.part else "the mark"
    return (
      f"{what} is damaged at view {self.view}, rows {self.rows[0]} to "
      f"{self.rows[1]} ({self.file}): {self.reason}"
    )


class Rows:
  """The rows of all parts.

  Args:
    layout: the cache's files.
    header: the cache's header.

  Attributes:
    arrays: part -> a tensorstore [views rows ...].
  """

  def __init__(self, layout: Layout, header: Header):
    self.layout, self.header = layout, header
    self.arrays = layout.parts(header, create=False)

  def results(self, futures, views, rows) -> dict[str, np.ndarray]:
    """Waits for rows that are being read.

    Args:
      futures: part -> the future of its rows.
      views, rows: int [N], the positions that are read.

    Raises:
      UserError: a row is damaged; the message names it and the remedy.
    """
    arrays = {}
    for part, future in futures.items():
      try:
        arrays[part] = future.result()
      except STORAGE_ERRORS as error:
        damage = self._locate(part, views, rows)
        raise self._read_error(damage or error) from None
    return arrays

  def verify(self, chunks: Iterable[tuple[int, int]]) -> list[Damage]:
    """Reads chunks, compares their checksums, and returns the damage."""
    damages = []
    for view, chunk in chunks:
      at = self._span(chunk * self.header.chunk_rows, self.header.chunk_rows)
      try:
        checksums = self.layout.checksums(view, chunk)
      except STORAGE_ERRORS as error:
        damages.append(self._damage("", view, at, str(error)))
        continue
      for part in self.arrays:
        rows = self._read(part, view, at)
        if isinstance(rows, Damage):
          damages.append(rows)
        elif checksum(rows) != checksums.get(part):
          reason = f"its checksum is not that of {mark_file(view, chunk)}"
          damages.append(self._damage(part, view, at, reason))
    return damages

  def _span(self, start: int, count: int) -> slice:
    return slice(start, min(start + count, self.header.rows))

  def _locate(self, part: str, views, rows) -> Damage | None:
    """The first unreadable block among those that hold some rows."""
    row = self.header.parts[part]
    size = _layout.block_rows(row, self.header.chunk_rows)
    blocks = np.unique(np.stack([views, rows // size]), axis=1)
    for view, block in blocks.T.tolist():
      result = self._read(part, view, self._span(block * size, size))
      if isinstance(result, Damage):
        return result
    return None

  def _read(self, part: str, view: int, at: slice) -> np.ndarray | Damage:
    """Some rows of a part, or their damage."""
    try:
      return self.arrays[part][view, at].read().result()
    except STORAGE_ERRORS as error:
      return self._damage(part, view, at, str(error))

  def _damage(self, part: str, view: int, at: slice, reason: str) -> Damage:
    chunk = at.start // self.header.chunk_rows
    file = mark_file(view, chunk)
    if part:
      row = self.header.parts[part]
      file = _layout.chunk_file(part, row, view, chunk)
    return Damage(view, chunk, (at.start, at.stop - 1), part, file, reason)

  def _read_error(self, cause: Damage | Exception) -> UserError:
    advice = "Try again, or make the cache again."
    if isinstance(cause, Damage):
      advice = (
        f"Remove {mark_file(cause.view, cause.chunk)} from the cache; "
        "`kdjax cache` makes this chunk again and keeps the rest."
      )
    return UserError(f"In the cache {self.layout.path}, {cause}.", advice)
