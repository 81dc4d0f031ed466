"""Named arrays of a file or folder: read, divided by split, and checked."""

import functools
import math
import pathlib
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from kdjax.data import _splits
from kdjax.data._array_layout import SPLIT
from kdjax.errors import UserError, check_memory

# Floats up to here may be brightness from 0 to 1, with some rounding.
_BRIGHT = 1.5

# Starts the key of one of several labels.
LABEL_OF = "label/"

Range = tuple[float, float]

# Channels of pictures: grey, with transparency, colour, colour with it.
_CHANNELS = (1, 2, 3, 4)


class Header(NamedTuple):
  """The shape and dtype of an array, known before its values are read."""

  shape: tuple[int, ...]
  dtype: np.dtype


def headers(path: pathlib.Path) -> dict[str, Header]:
  """The shape and dtype of every array of a file or folder.

  Raises:
    UserError: the path does not exist or cannot be read.
  """
  return _read(path, _header)


def arrays(path: pathlib.Path) -> dict[str, np.ndarray]:
  """Every array of a file or folder, cached until the files change."""
  stamps = tuple(
    (str(file), file.stat().st_mtime_ns, file.stat().st_size)
    for file in _files(path).values()
  )
  size = sum(
    math.prod(header.shape) * header.dtype.itemsize
    for header in headers(path).values()
  )
  check_memory(size, f"'{path}'")
  return _arrays(path, stamps)


def forms(
  part: Mapping[str, Any], where: str, values: Range | None = None
) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
  """The shape and dtype of each array in a batch, [N ...].

  Raises:
    UserError: an array's shape or dtype does not fit its key.
  """
  batch = {}
  for key, leaf in part.items():
    if key != SPLIT:
      batch[key] = _form(key, tuple(leaf.shape), leaf.dtype, where)
  if "image" in batch and values is not None:
    batch["image"] = (batch["image"][0], np.dtype(np.float32))
  if "text" in batch and "mask/text" not in batch:
    batch["mask/text"] = (batch["text"][0], np.dtype(bool))
  return batch


def checked(
  part: Mapping[str, np.ndarray],
  start: int,
  where: str,
  values: Range | None = None,
) -> dict[str, np.ndarray]:
  """The arrays of a split with the shapes and dtypes of a batch.

  Args:
    part: key -> [N ...].
    start: the index of the first example.
    where: how messages refer to the arrays.
    values: (low, high) of an image, which becomes 0 to 1.

  Raises:
    UserError: lengths differ, or an array holds values that it must not.
  """
  single = next((key for key, it in part.items() if not np.ndim(it)), None)
  if single is not None:
    raise UserError(
      f"The array '{single}' of {where} is a single value.",
      "Expected one entry per example. columns={key: array} reads the others.",
    )
  sizes = {key: len(value) for key, value in part.items()}
  if len({*sizes.values()}) > 1:
    listed = ", ".join(f"{key} {size}" for key, size in sizes.items())
    raise UserError(
      f"The arrays of {where} differ in length: {listed}.",
      "Expected one entry per example in each.",
    )
  columns = {}
  for key, (shape, dtype) in forms(part, where, values).items():
    value = part[key] if key in part else part["text"] != 0
    _check(key, value, dtype, where)
    if key == "image":
      value = _brightness(value, where, values)
    columns[key] = np.asarray(value, dtype).reshape(shape)
  size = max(sizes.values())
  columns["index"] = np.arange(start, start + size, dtype=np.int32)
  return columns


def _brightness(
  image: np.ndarray, where: str, values: Range | None
) -> np.ndarray:
  """Images as networks expect them: 0 to 1 if a range is stated.

  Raises:
    UserError: a value is outside of the range, or the range is not known.
  """
  if not image.size or (values is None and image.dtype in (np.uint8, bool)):
    return image
  # What is not a number is named elsewhere.
  low, high = float(np.nanmin(image)), float(np.nanmax(image))
  what = f"The array 'image' of {where} is {image.dtype} from {low:g} to"
  if values is None:
    # Floats with a negative value were standardised by somebody.
    if image.dtype.kind == "f" and (low < 0 or high <= _BRIGHT):
      return image
    raise UserError(
      f"{what} {high:g}, and its range is not known.",
      "range=(low, high) states what is black and white. Without it, expected"
      " uint8, or floats of 0 to 1 or standardised.",
    )
  if low < values[0] or high > values[1]:
    raise UserError(
      f"{what} {high:g}, outside of range={values}.",
      "Expected values in the range.",
    )
  return (image - values[0]) / np.float32(values[1] - values[0])


def _form(key, shape, dtype, where):
  if dtype.kind not in "biuf" or not shape:
    raise UserError(
      f"The array '{key}' of {where} has dtype {dtype} and shape"
      f" {list(shape)}.",
      "Expected numbers with the examples on the first axis. The data set"
      " 'manifest' takes texts, paths and class names.",
    )
  if key == "index":
    raise UserError(
      f"{where} has an array 'index'.",
      "`index` numbers the examples and is made by kdjax; rename the array.",
    )
  ranks = {"image": (3, 4), "audio": (2,), "text": (2,), "label": (1, 2)}
  kind = "label" if key.startswith(LABEL_OF) else key
  if len(shape) not in ranks.get(kind, (len(shape),)):
    raise UserError(
      f"The array '{key}' of {where} has shape {list(shape)}.",
      f"Expected {' or '.join(map(str, ranks[kind]))} axes.",
    )
  if key == "image" and len(shape) == 3:
    shape = (*shape, 1)
  if key == "image" and shape[3] not in _CHANNELS and shape[1] in _CHANNELS:
    raise UserError(
      f"The array 'image' of {where} has shape {list(shape)}: its channels come"
      " before height and width.",
      "Expected [N, H, W, C]: array.transpose(0, 2, 3, 1).",
    )
  if kind in ("label", "text"):
    return shape, np.dtype(np.int32)
  if dtype.kind == "f":
    return shape, np.dtype(np.float32)
  wide = dtype.itemsize > 4 or dtype == np.uint32
  return shape, np.dtype(np.int32) if wide else dtype


def _check(key: str, value: np.ndarray, dtype: np.dtype, where: str) -> None:
  """Raises for values that are not finite, not whole, or out of range."""
  wrong, expected = np.zeros(value.shape, bool), "finite"
  if value.dtype.kind == "f":
    wrong = ~np.isfinite(value)
    if dtype.kind == "i" and not wrong.any():
      wrong, expected = value != np.trunc(value), "a whole number"
  if dtype.kind == "i" and not wrong.any():
    least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
    wrong, expected = (value < least) | (value > most), f"{least} to {most}"
  label = key == "label" or key.startswith(LABEL_OF)
  if (label or key == "text") and not wrong.any():
    least = -1 if label else 0
    wrong, expected = value < least, f"{least} or more"
  if wrong.any():
    position = tuple(int(axis) for axis in np.argwhere(wrong)[0])
    raise UserError(
      f"The array '{key}' of {where} has {wrong.sum()} values that are not"
      f" {expected}; the first is {value[position]}, at {list(position)}."
    )


def classes(
  parts: Sequence[Mapping[str, np.ndarray]],
) -> dict[str, tuple[str, ...]]:
  """The numbers of the classes of each label, as names.

  Args:
    parts: key -> array, of each split.
  """
  found: dict[str, list[np.ndarray]] = {}
  for part in parts:
    for key, array in part.items():
      if key == "label" or key.startswith(LABEL_OF):
        found.setdefault(key, []).append(array)
  names = {}
  for key, labels in found.items():
    several = labels[0].ndim == 2
    if not several:
      values = np.unique(np.concatenate(labels))
      _splits.check_classes(int(values.max(initial=-1)), len(values))
    most = max(
      array.shape[1] if several else int(array.max()) + 1 for array in labels
    )
    names[key] = tuple(map(str, range(most)))
  return names


@functools.lru_cache(maxsize=2)
def _arrays(path: pathlib.Path, stamps: tuple) -> dict[str, np.ndarray]:
  del stamps  # part of the cache's key
  return _read(
    path, lambda file: np.lib.format.read_array(file, allow_pickle=False)
  )


def _files(path: pathlib.Path) -> dict[str, pathlib.Path]:
  """The files of arrays: the .npz itself, or name -> .npy of a folder."""
  if path.is_dir():
    files = sorted(path.rglob("*.npy"))
    if not files:
      raise UserError(f"The folder '{path}' has no .npy file.")
    name = lambda file: file.relative_to(path).with_suffix("").as_posix()
    return {name(file): file for file in files}
  if not path.is_file() or path.suffix != ".npz":
    nearby = path.parent.glob("*.npz") if path.parent.is_dir() else ()
    raise UserError(
      f"'{path}' is no .npz file and no folder.",
      "Expected an .npz file or a folder of .npy files.",
      exists=[file.name for file in nearby],
      near=path.name,
    )
  return {"": path}


def _read(path: pathlib.Path, reader) -> dict[str, Any]:
  """name -> `reader(file)` of every array."""
  results, name = {}, ""
  try:
    for name, file in _files(path).items():
      if path.is_dir():
        with file.open("rb") as opened:
          results[name] = reader(opened)
        continue
      with zipfile.ZipFile(file) as archive:
        for member in archive.namelist():
          name = member.removesuffix(".npy")
          with archive.open(member) as opened:
            results[name] = reader(opened)
  # zipfile and NumPy raise errors of many types for damaged files.
  except Exception as error:
    of = f" (array '{name}')" if name else ""
    raise UserError(f"'{path}'{of} cannot be read: {error}.") from error
  return results


def _header(file: BinaryIO) -> Header:
  version = np.lib.format.read_magic(file)
  read = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
  }.get(version)
  if read is None:
    raise ValueError(f"arrays of the format {version} are not supported")
  shape, _, dtype = read(file)
  return Header(shape, dtype)
