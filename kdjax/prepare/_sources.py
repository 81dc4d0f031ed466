"""Public files as a folder: one, an archive of it, or a download."""

import contextlib
import hashlib
import os
import pathlib
import tarfile
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from kdjax.config import progress
from kdjax.errors import UserError

# Seconds without an answer after which a download is given up.
TIMEOUT = 60

# Bytes that are read at once.
PART = 1_000_000


@contextlib.contextmanager
def opened(sources: Sequence[str]) -> Iterator[pathlib.Path]:
  """A folder with the files of all sources.

  Args:
    sources: a folder, which is used where it is; or archives (.zip, .tar,
      .tar.gz), single files and https addresses, which are put into a
      temporary folder.

  Raises:
    UserError: one does not exist, cannot be fetched, or is a broken archive.
  """
  if len(sources) == 1 and os.path.isdir(sources[0]):
    yield pathlib.Path(sources[0])
    return
  with tempfile.TemporaryDirectory() as folder:
    for number, source in enumerate(sources):
      part = pathlib.Path(folder, str(number))
      part.mkdir()
      if source.startswith("https://"):
        _unpack(_fetched(source, part), part)
      elif os.path.exists(source):
        _unpack(pathlib.Path(source), part)
      else:
        raise UserError(
          f"There is no '{source}'.",
          "Expected a folder, an archive (.zip, .tar, .tar.gz) or an https"
          " address.",
        )
    yield pathlib.Path(folder)


def find(folder: pathlib.Path, name: str) -> pathlib.Path:
  """The file of a name, or of its end such as "png/128", at any depth.

  Raises:
    UserError: it is not there.
  """
  found = files(folder, name)
  if not found:
    there = sorted(path.name for path in folder.rglob("*") if path.is_file())
    raise UserError(
      f"'{folder}' has no '{name}'.", exists=there[:1000], near=name
    )
  return found[0]


def files(folder: pathlib.Path, pattern: str) -> list[pathlib.Path]:
  """All files of a pattern at any depth, by path; hidden ones are left out."""
  return sorted(
    path
    for path in folder.rglob(pattern)
    if path.is_file()
    and not any(it[0] == "." for it in path.relative_to(folder).parts)
  )


def digest(arrays: Iterable[np.ndarray]) -> str:
  """A hash of arrays: of their values, shapes and types."""
  result = hashlib.sha256()
  for array in arrays:
    result.update(repr((array.dtype.str, array.shape)).encode())
    result.update(np.ascontiguousarray(array).data.cast("B"))
  return result.hexdigest()[:16]


def write(path: pathlib.Path, content: bytes) -> None:
  """Writes a file whole, or not at all."""
  path.parent.mkdir(parents=True, exist_ok=True)
  draft = path.with_name(f"{path.name}.draft")
  draft.write_bytes(content)
  draft.replace(path)


def _fetched(address: str, folder: pathlib.Path) -> pathlib.Path:
  """The file of an address; its name has the ending of an archive, if any."""
  path = folder / (address.rstrip("/").rpartition("/")[2] or "file")
  try:
    with urllib.request.urlopen(address, timeout=TIMEOUT) as answer:
      size = int(answer.headers.get("Content-Length") or 0)
      parts = iter(lambda: answer.read(PART), b"")
      total = -(-size // PART) or None
      with path.open("wb") as file:
        for part in progress.tracked(parts, path.name, total, unit="MB"):
          file.write(part)
  except (urllib.error.URLError, OSError, ValueError) as error:
    raise UserError(
      f"'{address}' cannot be fetched: {error}.",
      "Where there is no network, fetch it elsewhere: --from=<folder or file>.",
    ) from error
  return path


def _unpack(path: pathlib.Path, folder: pathlib.Path) -> None:
  """Unpacks an archive into a folder, below which all members stay."""
  try:
    if zipfile.is_zipfile(path):
      with zipfile.ZipFile(path) as archive:
        archive.extractall(folder / "unpacked")
    elif tarfile.is_tarfile(path):
      with tarfile.open(path) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    elif path.parent != folder:
      os.symlink(path.resolve(), folder / path.name)
  except (OSError, tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
    raise UserError(f"'{path}' cannot be unpacked: {error}.") from error
