"""Files that a run writes: completely, or not at all."""

import os
import pathlib

from kdjax.errors import UserError


def write_atomically(path: pathlib.Path, content: str | bytes) -> None:
  """Writes a file beside its place, and renames it.

  Raises:
    UserError: the folder is not writable, or the disk is full.
  """
  raw = content.encode() if isinstance(content, str) else content
  draft = path.with_name(path.name + ".draft")
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    with draft.open("wb") as file:
      file.write(raw)
      file.flush()
      os.fsync(file.fileno())
    os.replace(draft, path)
  except OSError as error:
    raise UserError(
      f"'{path}' cannot be written: {error.strerror}.",
      "Expected a folder that is writable, on a disk with space.",
    ) from error
