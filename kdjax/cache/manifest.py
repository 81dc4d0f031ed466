"""What a cache is of: a teacher, on data, under an augmentation."""

import dataclasses
import hashlib
from typing import Any

import jax
import numpy as np

from kdjax.errors import UserError

FORMAT = 1

_ELSEWHERE = "Give the cache another path, or remove this one and make it anew."

# What each field is, and what to do where it differs.
_FIELDS = {
  "format": ("the format of the files", _ELSEWHERE),
  "teacher": ("the hash of the teacher's parameters", _ELSEWHERE),
  "data": ("the fingerprint of the data", _ELSEWHERE),
  "split": ("the split", _ELSEWHERE),
  "augmentation": ("the pipeline of each view", _ELSEWHERE),
  "augment_seed": (
    "the seed of the augmentation",
    "Give the run the cache's, or make a cache with the run's.",
  ),
  "augmentations": (
    "how many augmentations an example has",
    "Give the run the cache's, or make a cache with the run's.",
  ),
  "outputs": ("what is stored of an example", _ELSEWHERE),
  "batch_shape": (
    "the batch that the teacher was run on",
    "Give the run the cache's, or make a cache with the run's.",
  ),
}


@dataclasses.dataclass(frozen=True)
class Output:
  """One output of a teacher, as it is stored.

  Attributes:
    shape: of one example's.
    dtype: that the network returned.
    codec: how it is stored, by the names of `codecs.py`.
  """

  shape: tuple[int, ...]
  dtype: str
  codec: str


@dataclasses.dataclass(frozen=True)
class Manifest:
  """What must be equal for a cached run to be the online run.

  Attributes:
    teacher: the hash of its parameters, by `hash_of`.
    data: the fingerprint of the examples.
    split: of the data.
    augmentation: the pipelines of all views, as text.
    augment_seed: of the augmentation.
    augmentations: how many an example has, in turn.
    outputs: name -> what is stored.
    batch_shape: of the batches that the teacher was run on: a program of
      another shape may round otherwise.
    kdjax: the version that made the cache. For information: never compared.
    jax: likewise.
    format: of the files.
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
    """As a dict of what JSON knows."""
    return _listed(dataclasses.asdict(self))

  @classmethod
  def from_json(cls, stored: dict[str, Any]) -> "Manifest":
    """What `to_json` gave.

    Raises:
      UserError: it is of a format that is not known here.
    """
    if stored.get("format") != FORMAT:
      raise UserError(
        f"The cache has the format {stored.get('format')}.",
        f"This kdjax reads format {FORMAT}. {_ELSEWHERE}",
      )
    outputs = {
      name: Output(tuple(one["shape"]), one["dtype"], one["codec"])
      for name, one in stored["outputs"].items()
    }
    batch_shape = tuple(stored["batch_shape"])
    return cls(**{**stored, "outputs": outputs, "batch_shape": batch_shape})


def same(
  found: Manifest, wanted: Manifest, where: str = "", more: bool = False
) -> None:
  """Says in which field two manifests differ, if they do.

  Args:
    found: of the cache.
    wanted: of the run.
    where: the cache is.
    more: whether the cache may have outputs beside those of the run.

  Raises:
    UserError: with the first field that differs, both values, what to do.
  """
  here, there = wanted.to_json(), found.to_json()
  if more:
    outputs = there["outputs"]
    there["outputs"] = {
      name: outputs[name] for name in here["outputs"] if name in outputs
    }
  for field, (meaning, advice) in _FIELDS.items():
    if here[field] == there[field]:
      continue
    one, other = there[field], here[field]
    name = field
    if isinstance(one, dict):
      key = next(
        key for key in [*other, *one] if one.get(key) != other.get(key)
      )
      name, one, other = f"{field}.{key}", one.get(key), other.get(key)
    raise UserError(
      f"The cache {where or 'found'} is of something else: '{name}', "
      f"{meaning}, is {_said(one)} there and {_said(other)} here.",
      advice,
    )


def hash_of(tree: Any) -> str:
  """A hash of a tree of arrays, the same in whatever order its dicts are.

  It knows each leaf's path, dtype, shape and bytes. Arrays alone, or numbers.
  """
  digest = hashlib.blake2b(digest_size=16)
  leaves = [
    (jax.tree_util.keystr(path), np.asarray(leaf))
    for path, leaf in jax.tree.leaves_with_path(tree)
  ]
  for path, leaf in sorted(leaves, key=lambda pair: pair[0]):
    # Lengths tell where a path ends; the bytes' follow from the shape.
    head = repr((path, leaf.dtype.name, leaf.shape)).encode()
    digest.update(len(head).to_bytes(8, "little") + head)
    digest.update(raw(leaf))
  return digest.hexdigest()


def checksum(array: np.ndarray) -> str:
  """A hash of an array's bytes."""
  return hashlib.blake2b(raw(array), digest_size=16).hexdigest()


def raw(array: np.ndarray) -> np.ndarray:
  """An array's bytes, u8 [size], without a copy where they lie in order."""
  return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def _listed(value: Any) -> Any:
  """With lists for tuples: as JSON gives it back."""
  if isinstance(value, dict):
    return {key: _listed(one) for key, one in value.items()}
  if isinstance(value, tuple | list):
    return [_listed(one) for one in value]
  return value


def _said(value: Any) -> str:
  if value is None:
    return "not stored"
  if isinstance(value, dict):
    return ", ".join(f"{key} {one}" for key, one in value.items())
  return f"'{value}'" if isinstance(value, str) else str(value)
