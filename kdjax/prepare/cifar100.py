"""CIFAR-100: a WebP sheet a class, from images or the binary files."""

import io
import json
import pathlib
import zipfile

import numpy as np

from kdjax.errors import UserError
from kdjax.prepare import _sheets, _sources

SOURCE = ("https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",)
# The order within a class is that of the source.
DIGEST = ""

# Images of a record of the binary files: coarse label, fine label, pixels.
_RECORD = 2 + 3 * 32 * 32

# Classes of one zip file.
_CLASSES = 34


def prepare(source: pathlib.Path, out: pathlib.Path) -> list[np.ndarray]:
  """Writes cifar100/cifar100-{train-0,train-1,train-2,test}.zip.

  From train.bin, test.bin and fine_label_names.txt of the binary version, or
  from train/<class>/*.png and test/<class>/*.png.

  Raises:
    UserError: a half is missing, or has other than 100 classes.
  """
  arrays = []
  for half in ("train", "test"):
    found = _sources.files(source, f"{half}.bin")
    images = _binary(source, found[0]) if found else _folders(source, half)
    if len(images) != 100:
      raise UserError(f"{half}: {len(images)} classes.", "Expected 100.")
    counts = {len(of_class) for of_class in images.values()}
    if len(counts) > 1:
      raise UserError(
        f"{half}: the classes have {min(counts)} to {max(counts)} images.",
        "Expected the same number of each.",
      )
    parts = range(0, 100, _CLASSES) if half == "train" else [0]
    for number, first in enumerate(parts):
      last = first + _CLASSES if half == "train" else 100
      name = f"-{number}" if half == "train" else ""
      _write(
        out / f"cifar100/cifar100-{half}{name}.zip", half, images, first, last
      )
    arrays += [np.stack(of_class) for of_class in images.values()]
  names = json.dumps({"fine": sorted(images)}, indent=1)
  _sources.write(out / "cifar100/labels.json", names.encode())
  return arrays


def _write(path, half, images, first: int, last: int) -> None:
  file = io.BytesIO()
  with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
    for label, name in [*enumerate(sorted(images))][first:last]:
      member = zipfile.ZipInfo(f"{half}/{label:03}_{name}_0.webp")
      archive.writestr(member, _sheets.sheet(images[name]))
  _sources.write(path, file.getvalue())


def _binary(
  source: pathlib.Path, path: pathlib.Path
) -> dict[str, list[np.ndarray]]:
  """class -> images, of train.bin or test.bin."""
  names = _sources.find(source, "fine_label_names.txt").read_text().split()
  raw = np.fromfile(path, np.uint8)
  if len(raw) % _RECORD or len(names) != 100:
    raise UserError(
      f"'{path}' has {len(raw)} bytes and {len(names)} class names.",
      f"Expected records of {_RECORD} bytes, and 100 names.",
    )
  records = raw.reshape(-1, _RECORD)
  pixels = records[:, 2:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
  return {
    name: [*pixels[records[:, 1] == label]] for label, name in enumerate(names)
  }


def _folders(source: pathlib.Path, half: str) -> dict[str, list[np.ndarray]]:
  """class -> images, of half/<class>/*.png."""
  from PIL import Image

  images: dict[str, list[np.ndarray]] = {}
  for path in _sources.files(source, "*.png"):
    if path.parent.parent.name == half:
      with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
      if pixels.shape != (32, 32, 3):
        raise UserError(f"'{path}' is of {pixels.shape}.", "Expected 32x32.")
      images.setdefault(path.parent.name, []).append(pixels)
  return dict(sorted(images.items()))
