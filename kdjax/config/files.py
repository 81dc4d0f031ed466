"""Files that a run writes: completely, or not at all."""

import contextlib
import os
import pathlib
from collections.abc import Iterator

from kdjax.errors import UserError


@contextlib.contextmanager
def writing(path: pathlib.Path) -> Iterator[None]:
  """Makes the system's errors of writing to a path errors of the user.

  Raises:
    UserError: the folder is not writable, or the disk is full.
  """
  try:
    yield
  except OSError as error:
    raise UserError(
      f"'{path}' cannot be written: {error.strerror or error}.",
      "Expected a folder that is writable, on a disk with space.",
    ) from error


def write_atomically(path: pathlib.Path, content: str | bytes) -> None:
  """Writes a file beside its place, and renames it.

  Raises:
    UserError: the folder is not writable, or the disk is full.
  """
  raw = content.encode() if isinstance(content, str) else content
  draft = path.with_name(path.name + ".draft")
  with writing(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    with draft.open("wb") as file:
      file.write(raw)
      file.flush()
      os.fsync(file.fileno())
    os.replace(draft, path)
