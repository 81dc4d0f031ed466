"""MNIST: its four published files."""

import gzip
import pathlib

import numpy as np

from kdjax.errors import UserError
from kdjax.prepare import _sources

_ADDRESS = "https://storage.googleapis.com/cvdf-datasets/mnist/"
NAMES = (
  *("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
  *("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
)
SOURCE = tuple(f"{_ADDRESS}{name}.gz" for name in NAMES)
DIGEST = "abf8afe4dd1afc39"


def prepare(source: pathlib.Path, out: pathlib.Path) -> list[np.ndarray]:
  """Writes mnist/*.gz from the idx files, which may be unpacked.

  Raises:
    UserError: a file is missing or broken.
  """
  contents = {}
  for name in NAMES:
    # Some copies write train-images.idx3-ubyte.
    spellings = (name, name.replace("-idx", ".idx"))
    ways = [f"{it}{end}" for it in spellings for end in (".gz", "")]
    there = [path for way in ways for path in _sources.files(source, way)]
    path = there[0] if there else _sources.find(source, f"{name}.gz")
    raw = path.read_bytes()
    try:
      contents[name] = gzip.decompress(raw) if path.suffix == ".gz" else raw
    except (OSError, EOFError) as error:
      raise UserError(f"'{path}' cannot be unpacked: {error}.") from error
    if contents[name][:3] != b"\x00\x00\x08":
      raise UserError(f"'{path}' is no idx file of bytes.")
  for name, content in contents.items():
    packed = gzip.compress(content, mtime=0)
    _sources.write(out / f"mnist/{name}.gz", packed)
  return [np.frombuffer(content, np.uint8) for content in contents.values()]
