"""Initial variables from the arrays of an .npz file, layer by layer."""

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

# PyTorch's names of leaves, by Flax's names.
PUBLIC = {"kernel": "weight", "scale": "weight", "embedding": "weight"}


def from_arrays(
  path: str, layers: Mapping[str, str], template: Variables, seed: int
) -> Variables:
  """Loads a network's variables from an .npz file in PyTorch's layout.

  Args:
    path: of the file.
    layers: network layer -> name in the file; {seed} is replaced by the seed.
      With {"dense0": "start.{seed}.0"} and seed 3, layer dense0 reads the
      arrays start.3.0.weight and start.3.0.bias.
    template: the network's variables, or their shapes.
    seed: of the run.

  Raises:
    UserError: the file cannot be read, an array is missing, or shapes differ.
  """
  arrays, leaves = _read(path), {}
  for leaf, like in FLATTEN(dict(template), sep="/").items():
    layer, _, kind = leaf.partition("/")[2].rpartition("/")
    if layer not in layers:
      raise UserError(
        f"The layer '{layer}' has no arrays in the option `layers`.",
        "Name the arrays of every layer.",
        exists=layers,
        near=layer,
      )
    name = f"{layers[layer].format(seed=seed)}.{PUBLIC.get(kind, kind)}"
    if name not in arrays:
      raise UserError(
        f"'{path}' has no array '{name}'.", exists=arrays, near=name
      )
    array = arrays[name].transpose(matching.axes(leaf, arrays[name].ndim))
    if array.shape != like.shape:
      raise UserError(
        f"The array '{name}' of '{path}' has the shape {[*array.shape]} in"
        " Flax's layout.",
        f"The network's '{leaf}' has the shape {[*like.shape]}.",
      )
    leaves[leaf] = array.astype(like.dtype)
  return UNFLATTEN(leaves, sep="/")


@functools.lru_cache(maxsize=4)
def _read(path: str) -> dict[str, np.ndarray]:
  """The arrays of an .npz, by name."""
  try:
    with np.load(path, allow_pickle=False) as arrays:
      return {name: arrays[name] for name in arrays}
  except (OSError, ValueError, zipfile.BadZipFile) as error:
    raise UserError(
      f"'{path}' cannot be read as an .npz file: {error}"
    ) from error
