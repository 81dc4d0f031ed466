"""Arrays by name: read from files, told apart by split, and checked."""

import functools
import pathlib
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from kdjax.data import _splits
from kdjax.errors import UserError

# The array that says the splits, in words.
SPLIT = "split"


class Header(NamedTuple):
  """What is known of an array before it is read."""

  shape: tuple[int, ...]
  dtype: np.dtype


def headers(path: pathlib.Path) -> dict[str, Header]:
  """The shape and dtype of every array of a file or folder.

  Raises:
    UserError: there is none, or it cannot be read.
  """
  return _read(path, _header)


def arrays(path: pathlib.Path) -> dict[str, np.ndarray]:
  """Every array of a file or folder, read once until it changes."""
  stamps = tuple(
    (str(one), one.stat().st_mtime_ns, one.stat().st_size)
    for one in _files(path).values()
  )
  return _arrays(path, stamps)


def layout(
  there: Mapping[str, Any],
  columns: Sequence[tuple[str, str]] | None,
  where: str,
) -> dict[str, dict[str, Any]]:
  """split -> key -> array; "train" alone where an array holds all splits.

  Args:
    there: name -> array, or its header.
    columns: (key, name)s, {split} in a name; None takes names as keys.
    where: what messages call the arrays.
  """
  own = [name for name in there if name.startswith("train/")]
  if columns is not None:
    patterns = dict(columns)
  elif own:
    keys = [name.removeprefix("train/") for name in own]
    patterns = {key: f"{{split}}/{key}" for key in keys}
  else:
    patterns = {name: name for name in there if name != SPLIT}
  apart = any("{split}" in pattern for pattern in patterns.values())
  found: dict[str, dict[str, Any]] = {}
  for split in _splits.SPLITS if apart else ("train",):
    names = {
      key: pattern.replace("{split}", split)
      for key, pattern in patterns.items()
    }
    lacks = [name for name in names.values() if name not in there]
    if split != "train" and len(lacks) == len(names):
      continue  # it is drawn from training
    if lacks or not names:
      name = (lacks or ["train/..."])[0]
      raise UserError(
        f"{where} has no array '{name}'.", exists=there, near=name
      )
    found[split] = {key: there[name] for key, name in names.items()}
  if not apart and SPLIT in there:
    found["train"][SPLIT] = there[SPLIT]
  return found


def forms(
  part: Mapping[str, Any], where: str
) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
  """The shape and dtype that each array takes in a batch, [N ...].

  Raises:
    UserError: an array is not what its key says.
  """
  found = {}
  for key, leaf in part.items():
    if key != SPLIT:
      found[key] = _form(key, tuple(leaf.shape), leaf.dtype, where)
  if "text" in found and "mask/text" not in found:
    found["mask/text"] = (found["text"][0], np.dtype(bool))
  return found


def checked(
  part: Mapping[str, np.ndarray], start: int, where: str
) -> dict[str, np.ndarray]:
  """The arrays of a part as they are in batches.

  Args:
    part: key -> [N ...].
    start: the index of the first.
    where: what messages call the arrays.

  Raises:
    UserError: they do not fit together, or hold what they must not.
  """
  sizes = {key: len(value) for key, value in part.items()}
  if len({*sizes.values()}) > 1:
    told = ", ".join(f"{key} {size}" for key, size in sizes.items())
    raise UserError(f"The arrays of {where} differ in length: {told}.")
  found = {}
  for key, (shape, dtype) in forms(part, where).items():
    value = part[key] if key in part else part["text"] != 0
    _check(key, value, dtype, where)
    found[key] = np.asarray(value, dtype).reshape(shape)
  size = max(sizes.values())
  found["index"] = np.arange(start, start + size, dtype=np.int32)
  return found


def _form(key, shape, dtype, where):
  if dtype.kind not in "biuf" or not shape:
    raise UserError(
      f"The array '{key}' of {where} is {dtype} {list(shape)}.",
      "Expected numbers, the examples on the first axis; texts, paths and names"
      " of classes are for the data set 'manifest'.",
    )
  if key == "index":
    raise UserError(f"{where} has an array 'index'.", "That is given here.")
  ranks = {"image": (3, 4), "audio": (2,), "text": (2,), "label": (1, 2)}
  if len(shape) not in ranks.get(key, (len(shape),)):
    raise UserError(
      f"The array '{key}' of {where} is {list(shape)}.",
      f"Expected {' or '.join(map(str, ranks[key]))} axes.",
    )
  if key == "image" and len(shape) == 3:
    shape = (*shape, 1)
  if key in ("label", "text"):
    return shape, np.dtype(np.int32)
  if dtype.kind == "f":
    return shape, np.dtype(np.float32)
  wide = dtype.itemsize > 4 or dtype == np.uint32
  return shape, np.dtype(np.int32) if wide else dtype


def _check(key: str, value: np.ndarray, dtype: np.dtype, where: str) -> None:
  """Raises for values that are not finite, not whole, or too large."""
  wrong, expected = np.zeros(value.shape, bool), "finite"
  if value.dtype.kind == "f":
    wrong = ~np.isfinite(value)
    if dtype.kind == "i" and not wrong.any():
      wrong, expected = value != np.trunc(value), "a whole number"
  if dtype.kind == "i" and not wrong.any():
    least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
    wrong, expected = (value < least) | (value > most), f"{least} to {most}"
  if key in ("label", "text") and not wrong.any():
    least = -1 if key == "label" else 0
    wrong, expected = value < least, f"{least} or more"
  if wrong.any():
    at = tuple(int(one) for one in np.argwhere(wrong)[0])
    raise UserError(
      f"The array '{key}' of {where} has {wrong.sum()} values that are not"
      f" {expected}; the first is {value[at]}, at {list(at)}."
    )


@functools.lru_cache(maxsize=2)
def _arrays(path: pathlib.Path, stamps: tuple) -> dict[str, np.ndarray]:
  del stamps  # tell one state of the files from another
  return _read(
    path, lambda file: np.lib.format.read_array(file, allow_pickle=False)
  )


def _files(path: pathlib.Path) -> dict[str, pathlib.Path]:
  """The files of arrays: the .npz itself, or name -> .npy of a folder."""
  if path.is_dir():
    found = sorted(path.rglob("*.npy"))
    if not found:
      raise UserError(f"The folder '{path}' has no .npy file.")
    name = lambda one: one.relative_to(path).with_suffix("").as_posix()
    return {name(one): one for one in found}
  if not path.is_file() or path.suffix != ".npz":
    there = path.parent.glob("*.npz") if path.parent.is_dir() else ()
    raise UserError(
      f"'{path}' is no .npz file and no folder.",
      exists=[one.name for one in there],
      near=path.name,
    )
  return {"": path}


def _read(path: pathlib.Path, reader) -> dict[str, Any]:
  """`reader` of every array's file."""
  found, name = {}, ""
  try:
    for name, file in _files(path).items():
      if path.is_dir():
        with file.open("rb") as opened:
          found[name] = reader(opened)
        continue
      with zipfile.ZipFile(file) as archive:
        for member in archive.namelist():
          name = member.removesuffix(".npy")
          with archive.open(member) as opened:
            found[name] = reader(opened)
  except (OSError, ValueError, zipfile.BadZipFile, zlib.error) as error:
    of = f" (array '{name}')" if name else ""
    raise UserError(f"'{path}'{of} cannot be read: {error}.") from error
  return found


def _header(file: BinaryIO) -> Header:
  version = np.lib.format.read_magic(file)
  read = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
  }.get(version)
  if read is None:
    raise ValueError(f"arrays of the format {version} are not known")
  shape, _, dtype = read(file)
  return Header(shape, dtype)
