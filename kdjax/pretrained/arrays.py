"""Networks that start from arrays of a file, layer by layer."""

import functools
import zipfile
from collections.abc import Mapping

import flax
import numpy as np

from kdjax.errors import UserError
from kdjax.pretrained import matching
from kdjax.types import Variables

FLATTEN = flax.traverse_util.flatten_dict
UNFLATTEN = flax.traverse_util.unflatten_dict

# What PyTorch calls a leaf, by our name of it.
PUBLIC = {"kernel": "weight", "scale": "weight", "embedding": "weight"}


def from_arrays(
  path: str, layers: Mapping[str, str], template: Variables, seed: int
) -> Variables:
  """The variables of a network from an .npz of PyTorch's arrays.

  Args:
    path: of the file.
    layers: layer of ours -> its name there, in which {seed} is the seed:
      {"dense0": "start.{seed}.0"} are the arrays start.3.0.weight and .bias.
    template: the variables, or their shapes.
    seed: of the run.

  Raises:
    UserError: the file cannot be read, a layer has no arrays, or others.
  """
  arrays, found = _read(path), {}
  for leaf, like in FLATTEN(dict(template), sep="/").items():
    layer, _, kind = leaf.partition("/")[2].rpartition("/")
    if layer not in layers:
      raise UserError(
        f"No arrays are named for the layer '{layer}'.",
        "A network that starts from a file has all its layers there.",
        exists=layers,
        near=layer,
      )
    name = f"{layers[layer].format(seed=seed)}.{PUBLIC.get(kind, kind)}"
    if name not in arrays:
      raise UserError(f"'{path}' has no '{name}'.", exists=arrays, near=name)
    moved = arrays[name].transpose(matching.axes(leaf, arrays[name].ndim))
    if moved.shape != like.shape:
      raise UserError(
        f"'{name}' of '{path}' is {[*moved.shape]}, and '{leaf}' is"
        f" {[*like.shape]}."
      )
    found[leaf] = moved.astype(like.dtype)
  return UNFLATTEN(found, sep="/")


@functools.lru_cache(maxsize=4)
def _read(path: str) -> dict[str, np.ndarray]:
  """The arrays of an .npz, by name."""
  try:
    with np.load(path, allow_pickle=False) as arrays:
      return {name: arrays[name] for name in arrays}
  except (OSError, ValueError, zipfile.BadZipFile) as error:
    raise UserError(f"'{path}' is no .npz that can be read: {error}") from error
