"""The records of one split of a manifest, decoded when they are asked for."""

import io
import os
import stat
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kdjax.data._manifest import FILES, Options, Whole, open_table
from kdjax.errors import UserError
from kdjax.feed.sources import Fault, digest
from kdjax.preprocess import audio, images

# An image's file up to here is read at once: to open a small one by its name
# and let Pillow read piece by piece costs a fifth of decoding it.
WHOLE = 1 << 22

# What is no file must not be waited for, as a pipe is.
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
    shapes: of one example, `index` among them.
    strict: whether a fault of the table stops, in whichever split it is.

  Raises:
    UserError: the table cannot be read, or has a fault.
  """
  whole = open_table(chosen)
  if strict and whole.faults:
    _stop(chosen, whole)
  return Split(chosen, whole, split, shapes)


def _stop(chosen: Options, whole: Whole) -> None:
  """Raises `UserError` for the first fault of a table."""
  place = min(whole.faults)
  fault = Fault(
    place, f"{chosen.path}", whole.rows[place].line, *whole.faults[place][0]
  )
  raise UserError(
    f"{fault} Of {len(whole.rows)} records {len(whole.faults)} are broken.",
    'on_error="skip" goes on without them; `kdjax inspect data` lists them.',
  )


class Split:
  """The records of a split, as `sources.Records` wants them.

  Args:
    chosen: the options.
    whole: the table.
    split: which of its records.
    shapes: of one example, `index` among them.
  """

  def __init__(
    self, chosen: Options, whole: Whole, split: str, shapes: Mapping[str, Any]
  ):
    places = np.flatnonzero(whole.split == split)
    if not len(places):
      raise UserError(
        f"'{chosen.path}' has no record in the split '{split}'.",
        f"It has {len(whole.rows)} records; `split_column`, `validation` and"
        " `test` say which split has which.",
      )
    self._chosen, self._folder = chosen, os.path.abspath(chosen.root)
    self.spec = {key: leaf for key, leaf in shapes.items() if key != "index"}
    self.index = places.astype(np.int32)
    self.values = {key: value[places] for key, value in whole.values.items()}
    self._files = [one for one in whole.columns if one.kind in FILES]
    self._cells = {
      key: [cells[place] for place in places]
      for key, cells in whole.cells.items()
    }
    self._lines = [whole.rows[place].line for place in places]
    self.faults = {
      position: [self._fault(position, *one) for one in whole.faults[place]]
      for position, place in enumerate(places.tolist())
      if place in whole.faults
    }

  @property
  def labels(self) -> np.ndarray:
    """The class of every record, -1 where it has none or is broken."""
    none = np.full(len(self.index), -1, np.int32)
    found = self.values.get("label", none).copy()
    found[list(self.faults)] = -1
    return found

  def fingerprint(self) -> str:
    """Of the table's values, and of names, sizes and times of the files."""
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
    for column in sorted(self._files, key=lambda one: one.key):
      parts += [column.key, column.kind]
      parts += [_stamp(cell, self._folder) for cell in self._cells[column.key]]
    return digest(*parts)

  def read(
    self, positions: Sequence[int]
  ) -> list[dict[str, np.ndarray] | list[Fault]]:
    """Of each record its images and sounds, or all its faults."""
    return [self._one(position) for position in positions]

  def _one(self, position: int) -> dict[str, np.ndarray] | list[Fault]:
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
    file, told = _file(cell, self._folder, kind)
    try:
      if kind == "image":
        return images.decode(
          file, chosen.image_size, channels=chosen.channels, fit=chosen.fit
        )
      return audio.decode(file, chosen.sample_rate, chosen.seconds)
    except ValueError as error:
      raise ValueError(f"{told} is {error}") from error

  def _fault(self, position: int, column: str, reason: str) -> Fault:
    return Fault(
      index=int(self.index[position]),
      file=str(self._chosen.path),
      line=self._lines[position],
      column=column,
      reason=reason,
    )


def _file(cell: Any, folder: str, kind: str) -> tuple[str | io.BytesIO, str]:
  """What to decode for a cell, and what to call it.

  Args:
    cell: a path, or the file itself.
    folder: absolute; a path starts there and stays below.
    kind: "image" or "audio"; of a long recording little may be read.

  Raises:
    ValueError: there is nothing to open.
  """
  if isinstance(cell, Mapping) and isinstance(cell.get("bytes"), bytes):
    cell = cell["bytes"]  # an image in Parquet, as the Hugging Face hub has it
  if isinstance(cell, bytes):
    return io.BytesIO(cell), "what it holds"
  if not isinstance(cell, str):
    raise ValueError(f"{cell!r} is no path")
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
    found = os.fstat(handle)
    _check(cell, found)
    if kind == "image" and found.st_size <= WHOLE:
      content = os.read(handle, found.st_size)
      if len(content) == found.st_size:
        return io.BytesIO(content), f"'{cell}'"
  except OSError as error:
    raise ValueError(f"'{cell}' cannot be read: {error.strerror}") from None
  finally:
    os.close(handle)
  return path, f"'{cell}'"


def _stamp(cell: Any, folder: str) -> Any:
  """What tells apart what a cell is decoded from: a file is not opened."""
  if not isinstance(cell, str):
    return cell
  path = os.path.normpath(os.path.join(folder, cell))
  name = os.path.relpath(path, folder)
  try:
    found = os.stat(path)
  except (OSError, ValueError):
    return name, None
  return name, found.st_size, found.st_mtime_ns


def _check(cell: str, found: os.stat_result) -> None:
  """Raises `ValueError` for what is no file with something in it."""
  if stat.S_ISDIR(found.st_mode):
    raise ValueError(f"'{cell}' is a folder")
  if not stat.S_ISREG(found.st_mode):
    raise ValueError(f"'{cell}' is no file")
  if not found.st_size:
    raise ValueError(f"'{cell}' is an empty file")
