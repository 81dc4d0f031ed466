"""Files of a manifest's cells: opened below its folder, known by content."""

import io
import os
import stat
import unicodedata
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
    raise ValueError(
      f"there is no file '{cell}'{_hint(cell, folder)}"
    ) from None
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


def _hint(cell: str, folder: str) -> str:
  """What may be meant by a path that does not exist; "" if nothing is near."""
  if cell.startswith("~"):
    return (
      "; '~' is not expanded: paths are relative to the folder of the table"
    )
  if "\\" in cell and _there(folder, cell.replace("\\", "/")):
    return f"; '{cell.replace(chr(92), '/')}' exists: write '/'"
  for form in ("NFC", "NFD"):
    other = unicodedata.normalize(form, cell)
    if other != cell and _there(folder, other):
      return (
        f"; a file exists whose name has its accents in the form {form}: write"
        " the table in this form"
      )
  parent, name = os.path.split(os.path.join(folder, cell))
  if os.path.isdir(parent):
    near = [it for it in os.listdir(parent) if it.lower() == name.lower()]
    if near:
      return f"; '{near[0]}' exists: case counts"
  return ""


def _there(folder: str, path: str) -> bool:
  return os.path.exists(os.path.join(folder, path))


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
