"""Hashes of files by their content, each file read once.

The hash is kept in the user's cache with the file's size and time, by which a
changed file is recognized.
"""

import contextlib
import hashlib
import os
import pathlib
import sqlite3
import stat
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from kdjax.config import user_cache

CHUNK = 1 << 20


def digests(paths: Sequence[str]) -> list[str | None]:
  """The hash of each file in hex; None where there is no regular file.

  Args:
    paths: of the files.
  """
  states = [_state(path) for path in paths]
  found: list[str | None] = [None] * len(paths)
  with _store() as store:
    for place, (path, state) in enumerate(zip(paths, states, strict=True)):
      if state is None:
        continue
      key = (os.path.abspath(path), state.st_size, state.st_mtime_ns)
      found[place] = _kept(store, key) or _computed(store, path, key)
  return found


def _state(path: str) -> os.stat_result | None:
  try:
    state = os.stat(path)
  except (OSError, ValueError):
    return None
  return state if stat.S_ISREG(state.st_mode) else None


@contextlib.contextmanager
def _store() -> Iterator[sqlite3.Connection | None]:
  """The table of kept hashes; None where it cannot be opened."""
  folder = user_cache.folder("hashes")
  store = None
  with contextlib.suppress(sqlite3.Error):
    if folder is not None:
      store = sqlite3.connect(folder / "files.sqlite", timeout=10)
      store.execute(
        "create table if not exists files"
        " (path text primary key, size integer, time integer, hash text)"
      )
  try:
    yield store
  finally:
    if store is not None:
      with contextlib.suppress(sqlite3.Error):
        store.commit()
      store.close()


def _kept(store: sqlite3.Connection | None, key: tuple) -> str | None:
  if store is None:
    return None
  with contextlib.suppress(sqlite3.Error, UnicodeError):
    row = store.execute(
      "select hash from files where path=? and size=? and time=?", key
    ).fetchone()
    return row[0] if row else None
  return None


def _computed(
  store: sqlite3.Connection | None, path: str, key: tuple
) -> str | None:
  result = hashlib.blake2b(digest_size=16)
  try:
    with pathlib.Path(path).open("rb") as file:
      while chunk := file.read(CHUNK):
        result.update(chunk)
  except OSError:
    return None
  if store is not None:
    with contextlib.suppress(sqlite3.Error, UnicodeError):
      row = (*key, result.hexdigest())
      store.execute("insert or replace into files values (?, ?, ?, ?)", row)
  return result.hexdigest()


def is_mpeg4(file: str | os.PathLike | BinaryIO) -> bool:
  """Whether a file is a container of MPEG-4, such as HEIC, M4A and MP4.

  Args:
    file: a path, or opened; its position is then changed.
  """
  try:
    if isinstance(file, str | os.PathLike):
      with open(file, "rb") as opened:
        return opened.read(8)[4:] == b"ftyp"
    file.seek(0)
    return file.read(8)[4:] == b"ftyp"
  except (OSError, ValueError):
    return False
