"""Files below a root: found or reported with their source; decompressed."""

import gzip
import os
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

from kdjax.errors import UserError, check_archive


def find(root: str, name: str, what: str) -> str:
  """The path of a data set's file.

  Args:
    root: the option `root`: the folder with a subfolder per data set.
    name: of the file, from there: "mnist/train-labels-idx1-ubyte.gz".
    what: a sentence on the file's content and its source.

  Raises:
    UserError: the file does not exist.
  """
  path = os.path.join(root, name)
  if root and os.path.isfile(path):
    return path
  problem = f"root='{root}': the file '{path}' does not exist."
  if not root:
    problem = f"root='': the folder of '{name}' is not set."
  raise UserError(
    problem,
    f"`kdjax prepare {name.partition('/')[0]} --out=<root>` makes it. {what}"
    f" `root` is the folder that has '{name}'.",
  )


def gunzip(path: str) -> bytes:
  """The decompressed content of a .gz file."""
  return _read(path, lambda: gzip.decompress(_bytes(path)))


def npz(path: str) -> dict[str, np.ndarray]:
  """The arrays of an .npz file, read without pickle."""

  def arrays() -> dict[str, np.ndarray]:
    check_archive(path)
    with np.load(path, allow_pickle=False) as file:
      return {name: file[name] for name in file.files}

  return _read(path, arrays)


def unzip(path: str, ending: str) -> list[tuple[str, bytes]]:
  """(name, bytes) of a .zip file's members with this ending, sorted."""

  def members() -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
      names = sorted(
        name for name in archive.namelist() if name.endswith(ending)
      )
      return [(name, archive.read(name)) for name in names]

  return _read(path, members)


def readonly(*arrays: np.ndarray) -> None:
  """Makes cached arrays, which all callers share, read-only."""
  for array in arrays:
    array.flags.writeable = False


def _bytes(path: str) -> bytes:
  with open(path, "rb") as file:
    return file.read()


def _read(path: str, read: Callable[[], Any]) -> Any:
  try:
    return read()
  # zipfile and NumPy raise errors of many types for damaged files.
  except Exception as why:
    raise UserError(f"'{path}' cannot be read: {why}.") from why
