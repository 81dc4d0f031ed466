"""Files of a manifest's cells: opened below its folder, known by content."""

import io
import os
import stat
from collections.abc import Mapping, Sequence
from typing import Any

from kdjax.data._columns import shown
from kdjax.preprocess import content

# Image files up to this size are read at once: piecewise reads by Pillow add a
# fifth to the decoding time of a small image.
WHOLE = 1 << 22

# Opening a pipe must not block.
_OPENING = (
  os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
)


def open_cell(
  cell: Any, folder: str, kind: str
) -> tuple[str | io.BytesIO, str]:
  """A cell's file to decode, and its name in messages.

  Args:
    cell: a path, or the file's bytes.
    folder: absolute; paths are relative to it and stay below it.
    kind: of the column; a recording of "audio" is not read whole.

  Raises:
    ValueError: the file cannot be opened.
  """
  if isinstance(cell, Mapping) and isinstance(cell.get("bytes"), bytes):
    cell = cell["bytes"]  # an image in Parquet, as the Hugging Face hub has it
  elif isinstance(cell, Mapping) and isinstance(cell.get("path"), str):
    cell = cell["path"]
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
    if kind != "audio" and state.st_size <= WHOLE:
      content = os.read(handle, state.st_size)
      if len(content) == state.st_size:
        return io.BytesIO(content), f"'{cell}'"
  except OSError as error:
    raise ValueError(f"'{cell}' cannot be read: {error.strerror}") from None
  finally:
    os.close(handle)
  return path, f"'{cell}'"


def identities(cells: Sequence[Any], folder: str) -> list[Any]:
  """What identifies each cell's files: their content, not their place.

  Args:
    cells: paths, bytes, or lists of them; None is empty.
    folder: absolute; paths are relative to it.
  """
  flat = [
    part
    for cell in cells
    for part in (cell if isinstance(cell, list) else [cell])
  ]
  paths = [
    os.path.normpath(os.path.join(folder, part))
    if isinstance(part, str)
    else ""
    for part in flat
  ]
  found = content.digests(paths)
  known = iter(
    digest_of if isinstance(part, str) else part
    for part, digest_of in zip(flat, found, strict=True)
  )
  return [
    [next(known) for _ in cell] if isinstance(cell, list) else next(known)
    for cell in cells
  ]


def _check(cell: str, state: os.stat_result) -> None:
  """Raises `ValueError` unless it is a regular file with content."""
  if stat.S_ISDIR(state.st_mode):
    raise ValueError(f"'{cell}' is a folder")
  if not stat.S_ISREG(state.st_mode):
    raise ValueError(f"'{cell}' is no file")
  if not state.st_size:
    raise ValueError(f"'{cell}' is an empty file")
