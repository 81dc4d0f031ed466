"""Files that a run writes: completely, or not at all."""

import contextlib
import errno
import os
import pathlib
import uuid
from collections.abc import Callable, Iterator

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


@contextlib.contextmanager
def written_atomically(
  path: pathlib.Path,
) -> Iterator[Callable[[str | bytes], None]]:
  """A file that grows beside its place, and is renamed at the end.

  An exception inside of the context leaves the file's place as it was. If two
  processes write the same file, the later one's is there in the end, whole.

  Yields:
    A function that writes a text, as UTF-8, or bytes.

  Raises:
    UserError: the folder is not writable, or the disk is full.
  """
  draft = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.draft")
  with writing(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
      raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    file = draft.open("wb")

  def write(content: str | bytes) -> None:
    with writing(path):
      file.write(content.encode() if isinstance(content, str) else content)

  try:
    yield write
    with writing(path):
      file.flush()
      os.fsync(file.fileno())
      file.close()
      os.replace(draft, path)
  except BaseException:
    with contextlib.suppress(OSError):
      file.close()  # of a full disk, which has raised before
    draft.unlink(missing_ok=True)
    raise


def write_atomically(path: pathlib.Path, content: str | bytes) -> None:
  """Writes a file beside its place, and renames it.

  Raises:
    UserError: the folder is not writable, or the disk is full.
  """
  with written_atomically(path) as write:
    write(content)
