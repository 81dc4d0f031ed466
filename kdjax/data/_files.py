"""Files below a root: found, or said where to get them; and decompressed."""

import gzip
import os
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from kdjax.errors import UserError


def find(root: str, name: str, what: str) -> str:
  """The path of a file below the folder of the data sets.

  Args:
    root: as the option of that name: the folder that holds a folder a set.
    name: of the file, from there: "mnist/train-labels-idx1-ubyte.gz".
    what: what it is and where it is to be had, as a sentence.

  Raises:
    UserError: it is not there.
  """
  path = os.path.join(root, name)
  if root and os.path.isfile(path):
    return path
  given = f"root='{root}', and there is no file '{path}'."
  if not root:
    given = f"root='' says no folder in which '{name}' is."
  raise UserError(given, f"{what} `root` is the folder in which '{name}' is.")


def gunzip(path: str) -> bytes:
  """What a .gz file holds."""
  return _read(path, lambda: gzip.decompress(_bytes(path)))


def npz(path: str) -> dict[str, np.ndarray]:
  """The arrays of an .npz file, read without pickle."""

  def arrays() -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as found:
      return {name: found[name] for name in found.files}

  return _read(path, arrays)


def unzip(path: str, ending: str) -> list[tuple[str, bytes]]:
  """The members of a .zip file whose names end so: (name, bytes), in order."""

  def members() -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
      names = sorted(one for one in archive.namelist() if one.endswith(ending))
      return [(name, archive.read(name)) for name in names]

  return _read(path, members)


def readonly(*arrays: np.ndarray) -> None:
  """Nobody writes into them: they are kept, and every caller has the same."""
  for array in arrays:
    array.flags.writeable = False


def _bytes(path: str) -> bytes:
  with open(path, "rb") as file:
    return file.read()


def _read(path: str, how: Callable[[], Any]) -> Any:
  try:
    return how()
  except (OSError, EOFError, ValueError, zlib.error, zipfile.BadZipFile) as why:
    raise UserError(f"'{path}' cannot be read: {why}.") from why
