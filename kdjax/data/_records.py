"""The records of one split of a manifest, decoded on access."""

import io
import os
import stat
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kdjax.data._columns import FILES, shown
from kdjax.data._manifest import open_table
from kdjax.data._whole import Options, Whole
from kdjax.errors import UserError
from kdjax.feed.sources import Fault, digest
from kdjax.preprocess import audio, content, images

# Image files up to this size are read at once: piecewise reads by Pillow add a
# fifth to the decoding time of a small image.
WHOLE = 1 << 22

# Opening a pipe must not block.
_OPENING = (
  os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
)


def opened(
  chosen: Options, split: str, shapes: Mapping[str, Any], *, strict: bool
) -> "Split":
  """The records of a split of a table.

  Args:
    chosen: the options.
    split: "train", "validation" or "test".
    shapes: of one example, `index` included.
    strict: whether a fault of the table stops, in any split.

  Raises:
    UserError: the table cannot be read, or has a fault.
  """
  whole = open_table(chosen)
  if strict and whole.faults:
    _stop(chosen, whole)
  return Split(chosen, whole, split, shapes)


def _stop(chosen: Options, whole: Whole) -> None:
  """Raises `UserError` for the first fault of a table."""
  row = min(whole.faults)
  fault = Fault(
    row, f"{chosen.path}", whole.rows[row].line, *whole.faults[row][0]
  )
  raise UserError(
    f"{fault} {len(whole.faults)} of {len(whole.rows)} records are broken.",
    'on_error="skip" leaves them out; `kdjax inspect data` lists them.',
  )


class Split:
  """The records of a split; implements `sources.Records`.

  Args:
    chosen: the options.
    whole: the table.
    split: "train", "validation" or "test".
    shapes: of one example, `index` included.
  """

  def __init__(
    self, chosen: Options, whole: Whole, split: str, shapes: Mapping[str, Any]
  ):
    rows = np.flatnonzero(whole.split == split)
    if not len(rows):
      raise UserError(
        f"'{chosen.path}' has no record in the split '{split}'.",
        f"It has {len(whole.rows)} records; `split_column`, `validation` and"
        " `test` divide them.",
      )
    self._chosen, self._folder = chosen, os.path.abspath(chosen.root)
    self.spec = {key: leaf for key, leaf in shapes.items() if key != "index"}
    self.index = rows.astype(np.int32)
    self.values = {key: value[rows] for key, value in whole.values.items()}
    self._files = [column for column in whole.columns if column.kind in FILES]
    self._cells = {
      key: [cells[row] for row in rows] for key, cells in whole.cells.items()
    }
    self._lines = [whole.rows[row].line for row in rows]
    self.faults = {
      position: [self._fault(position, *fault) for fault in whole.faults[row]]
      for position, row in enumerate(rows.tolist())
      if row in whole.faults
    }

  @property
  def labels(self) -> np.ndarray:
    """The class of every record; -1 if it is unlabelled or broken."""
    none = np.full(len(self.index), -1, np.int32)
    labels = self.values.get("label", none).copy()
    labels[list(self.faults)] = -1
    return labels

  def fingerprint(self) -> str:
    """Hash of the table's values and the files' contents."""
    chosen = self._chosen
    parts: list[Any] = [
      (chosen.image_size, chosen.channels, chosen.fit),
      (chosen.sample_rate, chosen.seconds),
      sorted((key, leaf.shape) for key, leaf in self.spec.items()),
      sorted(self.faults),
      self.index,
    ]
    for key, values in sorted(self.values.items()):
      parts += [key, values]
    for column in sorted(self._files, key=lambda column: column.key):
      parts += [column.key, column.kind]
      parts += _identities(self._cells[column.key], self._folder)
    return digest(*parts)

  def read(
    self, positions: Sequence[int]
  ) -> list[dict[str, np.ndarray] | list[Fault]]:
    """For each record its images and recordings, or all its faults."""
    return [self._record(position) for position in positions]

  def _record(self, position: int) -> dict[str, np.ndarray] | list[Fault]:
    faults = [*self.faults.get(position, ())]
    example: dict[str, np.ndarray] = {}
    for column in self._files:
      cell = self._cells[column.key][position]
      if cell is None:
        continue
      try:
        example[column.key] = self._decode(column.kind, cell)
      except ValueError as error:
        faults.append(self._fault(position, column.names[0], str(error)))
    return faults or example

  def _decode(self, kind: str, cell: Any) -> np.ndarray:
    chosen = self._chosen
    file, name = _file(cell, self._folder, kind)
    try:
      if kind == "image":
        return images.decode(
          file, chosen.image_size, channels=chosen.channels, fit=chosen.fit
        )
      return audio.decode(file, chosen.sample_rate, chosen.seconds)
    except ValueError as error:
      raise ValueError(f"{name} is {error}") from error

  def _fault(self, position: int, column: str, reason: str) -> Fault:
    return Fault(
      index=int(self.index[position]),
      file=str(self._chosen.path),
      line=self._lines[position],
      column=column,
      reason=reason,
    )


def _file(cell: Any, folder: str, kind: str) -> tuple[str | io.BytesIO, str]:
  """A cell's file to decode, and its name in messages.

  Args:
    cell: a path, or the file's bytes.
    folder: absolute; paths are relative to it and stay below it.
    kind: "image" or "audio"; a recording is not read whole.

  Raises:
    ValueError: the file cannot be opened.
  """
  if isinstance(cell, Mapping) and isinstance(cell.get("bytes"), bytes):
    cell = cell["bytes"]  # an image in Parquet, as the Hugging Face hub has it
  if isinstance(cell, bytes):
    return io.BytesIO(cell), "its content"
  if not isinstance(cell, str):
    raise ValueError(f"{shown(cell)} is no path")
  path = os.path.normpath(os.path.join(folder, cell))
  if not path.startswith(os.path.join(folder, "")):
    raise ValueError(f"'{cell}' is outside of the folder '{folder}'")
  try:
    handle = os.open(path, _OPENING)
  except (FileNotFoundError, NotADirectoryError):
    raise ValueError(f"there is no file '{cell}'") from None
  except OSError as error:
    raise ValueError(f"'{cell}' cannot be opened: {error.strerror}") from None
  try:
    state = os.fstat(handle)
    _check(cell, state)
    if kind == "image" and state.st_size <= WHOLE:
      content = os.read(handle, state.st_size)
      if len(content) == state.st_size:
        return io.BytesIO(content), f"'{cell}'"
  except OSError as error:
    raise ValueError(f"'{cell}' cannot be read: {error.strerror}") from None
  finally:
    os.close(handle)
  return path, f"'{cell}'"


def _identities(cells: Sequence[Any], folder: str) -> list[Any]:
  """What identifies each cell's file: its content, not its place."""
  paths = [
    os.path.normpath(os.path.join(folder, cell))
    if isinstance(cell, str)
    else ""
    for cell in cells
  ]
  found = content.digests(paths)
  return [
    digest_of if isinstance(cell, str) else cell
    for cell, digest_of in zip(cells, found, strict=True)
  ]


def _check(cell: str, state: os.stat_result) -> None:
  """Raises `ValueError` unless it is a regular file with content."""
  if stat.S_ISDIR(state.st_mode):
    raise ValueError(f"'{cell}' is a folder")
  if not stat.S_ISREG(state.st_mode):
    raise ValueError(f"'{cell}' is no file")
  if not state.st_size:
    raise ValueError(f"'{cell}' is an empty file")
