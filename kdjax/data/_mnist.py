"""MNIST as arrays, from its four published files or from TFDS."""

import functools
import math

import numpy as np
from jaxtyping import Int, UInt8

from kdjax.data import _files, _tfds
from kdjax.data._splits import SPLITS
from kdjax.errors import UserError

# split -> first index, and the first after it. Test images follow the 60,000
# for training; the last 5,000 of those are validation, as in MultiBench.
ROWS = {
  "train": (0, 55_000),
  "validation": (55_000, 60_000),
  "test": (60_000, 70_000),
}

FORMATS = ("files", "tfds")

_STEMS = {"train": "train", "test": "t10k"}
_WHAT = (
  "It is one of the four published files of MNIST, such as those of"
  " https://storage.googleapis.com/cvdf-datasets/mnist/."
)


def check(split: str, mnist: str = "files") -> None:
  """Raises `UserError` for an unknown split or format."""
  if split not in ROWS:
    raise UserError(f"No split '{split}'.", exists=SPLITS, near=split)
  if mnist not in FORMATS:
    raise UserError(f"No format mnist='{mnist}'.", exists=FORMATS, near=mnist)


def part(
  root: str, mnist: str, split: str
) -> tuple[UInt8[np.ndarray, "N 28 28"], Int[np.ndarray, "N"]]:
  """Images and labels of a split, read-only."""
  first, last = ROWS[split]
  start = 0 if split != "test" else ROWS["test"][0]
  images, labels = _whole(root, mnist, "test" if start else "train")
  rows = slice(first - start, last - start)
  return images[rows], labels[rows]


@functools.cache
def _whole(root: str, mnist: str, half: str) -> tuple[np.ndarray, np.ndarray]:
  """The published "train" or "test" images and labels."""
  read = _from_files if mnist == "files" else _from_tfds
  images, labels = read(root, half)
  count = {"train": 60_000, "test": 10_000}[half]
  if images.shape != (count, 28, 28) or labels.shape != (count,):
    raise UserError(
      f"The MNIST {half} images in '{root}' have shape {[*images.shape]} and"
      f" the labels {[*labels.shape]}.",
      f"Expected [{count}, 28, 28] and [{count}].",
    )
  labels = labels.astype(np.int32)
  _files.readonly(images, labels)
  return images, labels


def _from_files(root: str, half: str) -> tuple[np.ndarray, np.ndarray]:
  stem = f"mnist/{_STEMS[half]}"
  images = _files.find(root, f"{stem}-images-idx3-ubyte.gz", _WHAT)
  labels = _files.find(root, f"{stem}-labels-idx1-ubyte.gz", _WHAT)
  return _idx(images), _idx(labels)


def _idx(path: str) -> np.ndarray:
  """An idx file: 0, 0, 8 for bytes, the rank, the sizes, and the values."""
  raw = _files.gunzip(path)
  rank = raw[3] if raw[:3] == b"\x00\x00\x08" and len(raw) > 3 else 0
  start = 4 + 4 * rank
  sizes = [raw[offset : offset + 4] for offset in range(4, start, 4)]
  shape = tuple(int.from_bytes(size, "big") for size in sizes)
  if not rank or len(raw) != start + math.prod(shape):
    raise UserError(
      f"'{path}' is not a complete idx file of bytes.", "Fetch it again."
    )
  return np.frombuffer(raw, np.uint8, offset=start).reshape(shape)


def _from_tfds(root: str, half: str) -> tuple[np.ndarray, np.ndarray]:
  if not root:
    raise UserError(
      "root='': the folder of MNIST is not set.", "TFDS keeps MNIST in `root`."
    )
  try:
    source = _tfds.source("mnist", root, half)
  except UserError as error:
    raise UserError(
      f"TFDS cannot read MNIST from '{root}': {error}",
      'mnist="files" reads the four files of root/mnist.',
    ) from error
  records = [source[row] for row in range(len(source))]
  images = np.stack([record["image"][..., 0] for record in records])
  return images, np.array([record["label"] for record in records])
