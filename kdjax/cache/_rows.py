"""Rows of a cache as they are on disk, and what is wrong with them."""

import dataclasses
from collections.abc import Iterable

import numpy as np

from kdjax.cache import _layout
from kdjax.cache._layout import FAULTS, Header, Layout, mark_of
from kdjax.cache.manifest import checksum
from kdjax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Damage:
  """A part of a cache that cannot be read, or is not what was written.

  Attributes:
    view, chunk: where it is.
    rows: first and last, of `Reader.index`.
    part: of what; "" where it is the mark.
    file: its name, in the cache.
    reason: what was found.
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
    layout: of the cache.
    header: its own.

  Attributes:
    arrays: part -> a tensorstore [views rows ...].
  """

  def __init__(self, layout: Layout, header: Header):
    self.layout, self.header = layout, header
    self.arrays = layout.parts(header, create=False)

  def finished(self, started, views, rows) -> dict[str, np.ndarray]:
    """What was read.

    Args:
      started: part -> a future of its rows.
      views, rows: int [N], those that are read.

    Raises:
      UserError: with what is damaged, and what to do.
    """
    found = {}
    for part, one in started.items():
      try:
        found[part] = one.result()
      except FAULTS as error:
        damage = self._locate(part, views, rows)
        raise self._refused(damage or error) from None
    return found

  def verify(self, chunks: Iterable[tuple[int, int]]) -> list[Damage]:
    """What is damaged of some chunks: they are read and compared to marks."""
    found = []
    for view, chunk in chunks:
      at = self._span(chunk * self.header.chunk_rows, self.header.chunk_rows)
      try:
        marks = self.layout.marked(view, chunk)
      except FAULTS as error:
        found.append(self._damage("", view, at, str(error)))
        continue
      for part in self.arrays:
        rows = self._read(part, view, at)
        if isinstance(rows, Damage):
          found.append(rows)
        elif checksum(rows) != marks.get(part):
          reason = f"its checksum is not that of {mark_of(view, chunk)}"
          found.append(self._damage(part, view, at, reason))
    return found

  def _span(self, start: int, count: int) -> slice:
    return slice(start, min(start + count, self.header.rows))

  def _locate(self, part: str, views, rows) -> Damage | None:
    """The first of the blocks of some rows that cannot be read."""
    row = self.header.parts[part]
    size = _layout.block_rows(row, self.header.chunk_rows)
    blocks = np.unique(np.stack([views, rows // size]), axis=1)
    for view, block in blocks.T.tolist():
      found = self._read(part, view, self._span(block * size, size))
      if isinstance(found, Damage):
        return found
    return None

  def _read(self, part: str, view: int, at: slice) -> np.ndarray | Damage:
    """Some rows of a part, or what is wrong with them."""
    try:
      return self.arrays[part][view, at].read().result()
    except FAULTS as error:
      return self._damage(part, view, at, str(error))

  def _damage(self, part: str, view: int, at: slice, reason: str) -> Damage:
    chunk = at.start // self.header.chunk_rows
    file = mark_of(view, chunk)
    if part:
      row = self.header.parts[part]
      file = _layout.file_of(part, row, view, chunk)
    return Damage(view, chunk, (at.start, at.stop - 1), part, file, reason)

  def _refused(self, wrong: Damage | Exception) -> UserError:
    advice = "Try again, or make the cache anew."
    if isinstance(wrong, Damage):
      advice = (
        f"Remove {mark_of(wrong.view, wrong.chunk)} there, and "
        "`kdjax cache` makes this chunk again and keeps the rest."
      )
    return UserError(f"In the cache {self.layout.path}, {wrong}.", advice)
