"""The manifest of a cache: its teacher, its data and their augmentation."""

import dataclasses
import hashlib
from typing import Any

import jax
import numpy as np

from kdjax.errors import UserError

FORMAT = 1

_REMAKE = "Choose another path, or remove the cache and make it again."
_MATCH = "Give the run the cache's value, or make a cache with the run's value."

# The meaning of each field, and what to do where it differs.
_FIELDS = {
  "format": ("the format of the files", _REMAKE),
  "teacher": ("the hash of the teacher's parameters", _REMAKE),
  "data": ("the fingerprint of the data", _REMAKE),
  "split": ("the split", _REMAKE),
  "augmentation": ("the pipeline of each view", _REMAKE),
  "augment_seed": ("the seed of the augmentation", _MATCH),
  "augmentations": ("the number of augmentations of an example", _MATCH),
  "outputs": ("the stored outputs of an example", _REMAKE),
  "batch_shape": ("the batch shape that the teacher ran on", _MATCH),
}


@dataclasses.dataclass(frozen=True)
class Output:
  """A stored output of a teacher.

  Attributes:
    shape: shape of one example's output.
    dtype: dtype that the network returned.
    codec: name of its codec in `codecs.py`.
  """

  shape: tuple[int, ...]
  dtype: str
  codec: str


@dataclasses.dataclass(frozen=True)
class Manifest:
  """What must be equal for a cached run to equal the online run.

  Attributes:
    teacher: hash of the teacher's parameters, by `hash_of`.
    data: fingerprint of the examples.
    split: name of the data split.
    augmentation: pipelines of all views, as text.
    augment_seed: seed of the augmentation.
    augmentations: number of augmentations of an example, used in turn.
    outputs: name -> stored output.
    batch_shape: shape of the batches that the teacher ran on. A program of
      another shape may round differently.
    kdjax: version that made the cache. For information; never compared.
    jax: version of JAX. For information; never compared.
    format: version of the file format.
  """

  teacher: str
  data: str
  split: str
  augmentation: str
  augment_seed: int
  augmentations: int
  outputs: dict[str, Output]
  batch_shape: tuple[int, ...]
  kdjax: str = ""
  jax: str = ""
  format: int = FORMAT

  def to_json(self) -> dict[str, Any]:
    """The manifest as JSON values."""
    return _listed(dataclasses.asdict(self))

  @classmethod
  def from_json(cls, stored: dict[str, Any]) -> "Manifest":
    """The inverse of `to_json`.

    Raises:
      UserError: the format is unknown.
    """
    if stored.get("format") != FORMAT:
      raise UserError(
        f"The cache has format {stored.get('format')}.",
        f"This version reads format {FORMAT}. {_REMAKE}",
      )
    outputs = {
      name: Output(tuple(output["shape"]), output["dtype"], output["codec"])
      for name, output in stored["outputs"].items()
    }
    batch_shape = tuple(stored["batch_shape"])
    return cls(**{**stored, "outputs": outputs, "batch_shape": batch_shape})


def check_equal(
  stored: Manifest, expected: Manifest, path: str = "", more: bool = False
) -> None:
  """Checks that a cache has the manifest that a run expects.

  Args:
    stored: the cache's manifest.
    expected: the run's manifest.
    path: the cache's path, for the message.
    more: whether the cache may have outputs that the run does not read.

  Raises:
    UserError: with the first field that differs, both values, what to do.
  """
  here, there = expected.to_json(), stored.to_json()
  if more:
    outputs = there["outputs"]
    there["outputs"] = {
      name: outputs[name] for name in here["outputs"] if name in outputs
    }
  for field, (meaning, advice) in _FIELDS.items():
    if here[field] == there[field]:
      continue
    name, old, new = field, there[field], here[field]
    if isinstance(old, dict):
      key = next(key for key in [*new, *old] if old.get(key) != new.get(key))
      name, old, new = f"{field}.{key}", old.get(key), new.get(key)
    raise UserError(
      f"The cache{path and ' '}{path} does not fit this run: '{name}', "
      f"{meaning}, is {_text(old)} in the cache and {_text(new)} here.",
      advice,
    )


def hash_of(tree: Any) -> str:
  """The hash of a tree of arrays or numbers, independent of the dicts' order.

  It covers each leaf's path, dtype, shape and bytes.
  """
  digest = hashlib.blake2b(digest_size=16)
  leaves = [
    (jax.tree_util.keystr(path), np.asarray(leaf))
    for path, leaf in jax.tree.leaves_with_path(tree)
  ]
  for path, leaf in sorted(leaves, key=lambda pair: pair[0]):
    # The length shows where a path ends; the shape gives the bytes' length.
    head = repr((path, leaf.dtype.name, leaf.shape)).encode()
    digest.update(len(head).to_bytes(8, "little") + head)
    digest.update(bytes_of(leaf))
  return digest.hexdigest()


def checksum(array: np.ndarray) -> str:
  """The hash of an array's bytes."""
  return hashlib.blake2b(bytes_of(array), digest_size=16).hexdigest()


def bytes_of(array: np.ndarray) -> np.ndarray:
  """An array's bytes, u8 [size]; a contiguous array is not copied."""
  return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def _listed(value: Any) -> Any:
  """A value with lists in place of tuples, as JSON returns it."""
  if isinstance(value, dict):
    return {key: _listed(item) for key, item in value.items()}
  if isinstance(value, tuple | list):
    return [_listed(item) for item in value]
  return value


def _text(value: Any) -> str:
  if value is None:
    return "not stored"
  if isinstance(value, dict):
    return ", ".join(f"{key} {item}" for key, item in value.items())
  return f"'{value}'" if isinstance(value, str) else str(value)
