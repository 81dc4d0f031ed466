"""Initial values of a student from the layers of a trained network."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import flax
import numpy as np

from kdjax.errors import UserError
from kdjax.types import Variables

BLOCK = re.compile(r"block(\d\d)(?=_|/)")
CHOICES = ("first", "last", "even")
FLATTEN = flax.traverse_util.flatten_dict


def inherit(
  template: Variables,
  source: Variables,
  layers: str | Sequence[int] | None = None,
  *,
  keep: Sequence[str] = (),
) -> Variables:
  """Initializes a shallower or narrower network from another's variables.

  Block i copies the source's block `layers[i]`. If an array is smaller than the
  source's, it is the leading slice along each axis.
  Sanh et al., "DistilBERT", arXiv:1910.01108, Section 3 (every second layer);
  Wu et al., "TinyCLIP", ICCV 2023, arXiv:2309.12314 (layers and width); Gandhi
  et al., "Distil-Whisper", arXiv:2311.00430 (evenly spaced layers).

  Attention heads are concatenated along the width. If both networks have the
  same head size, width / heads, a leading slice consists of the first heads.
  Otherwise it mixes parts of different heads, and the copied values lose their
  function.

  Args:
    template: variables, or their shapes, of the network to initialize.
    source: variables of the other network, of the same architecture.
    layers: the source's blocks: "first", "last", "even" (the first, the last
      and evenly spaced ones between) or a sequence of indices. None requires
      equally many blocks. Parts of a network, such as an image and a text
      tower, count their blocks separately.
    keep: parts, such as ("head",), that keep the template's values.

  Returns:
    NumPy arrays in the template's dtypes.

  Raises:
    UserError: the layers do not exist, or arrays do not fit; it lists all.
  """
  names = origins(template, source, layers, keep=keep)
  templates = FLATTEN(dict(template), sep="/")
  sources = FLATTEN(dict(source), sep="/")
  leaves = {}
  for leaf, like in templates.items():
    if leaf not in names:
      leaves[leaf] = np.asarray(like)
      continue
    cut = tuple(slice(size) for size in like.shape)
    leaves[leaf] = np.array(np.asarray(sources[names[leaf]])[cut], like.dtype)
  return flax.traverse_util.unflatten_dict(leaves, sep="/")


def origins(
  template: Variables,
  source: Variables,
  layers: str | Sequence[int] | None = None,
  *,
  keep: Sequence[str] = (),
) -> dict[str, str]:
  """Maps each leaf that `inherit` fills to the source's leaf; reads no values.

  Args:
    template: as in `inherit`.
    source: as in `inherit`; shapes suffice.
    layers: as in `inherit`.
    keep: parts to leave out.

  Raises:
    UserError: as in `inherit`.
  """
  templates = FLATTEN(dict(template), sep="/")
  sources = FLATTEN(dict(source), sep="/")
  blocks = _blocks(_depths(templates), _depths(sources), layers)
  names, faults = {}, []
  for leaf, like in templates.items():
    if leaf.split("/")[1] in keep:
      continue
    names[leaf] = BLOCK.sub(
      lambda match, leaf=leaf: (
        f"block{blocks[_part(leaf, match.start())][int(match.group(1))]:02d}"
      ),
      leaf,
    )
    faults.append(_fault(leaf, like, names[leaf], sources))
  if any(faults):
    raise UserError(
      "The network cannot inherit from the source network:\n  "
      + "\n  ".join(filter(None, faults))
    )
  return names


def _part(leaf: str, end: int) -> str:
  """The path of the part that holds a block, without the collection."""
  return leaf[:end].partition("/")[2]


def _depths(leaves: Mapping[str, Any]) -> dict[str, int]:
  """Number of blocks of each part of a network."""
  depths: dict[str, int] = {}
  for leaf in leaves:
    for match in BLOCK.finditer(leaf):
      part = _part(leaf, match.start())
      depths[part] = max(depths.get(part, 0), int(match.group(1)) + 1)
  return depths


def _blocks(
  depths: Mapping[str, int],
  source_depths: Mapping[str, int],
  layers: str | Sequence[int] | None,
) -> dict[str, tuple[int, ...]]:
  """For each part, the source's block of each block."""
  missing = sorted(depths.keys() - source_depths.keys())
  if missing:
    raise UserError(
      "The source network has no blocks to inherit from.",
      f"Expected the parameters 'block00..' in {missing}.",
    )
  return {
    part: _indices(depth, source_depths[part], layers)
    for part, depth in depths.items()
  }


def _indices(depth: int, source_depth: int, layers) -> tuple[int, ...]:
  depths = f"The network has {depth} blocks, the source {source_depth}"
  if layers is None:
    if depth != source_depth:
      raise UserError(
        f"{depths}.",
        f"Select the source's blocks by layers: {', '.join(CHOICES)} or a list"
        " of indices.",
      )
    return tuple(range(depth))
  if isinstance(layers, str):
    if layers not in CHOICES:
      raise UserError(f"No layers '{layers}'.", exists=CHOICES, near=layers)
    if depth > source_depth:
      raise UserError(f"{depths}.", "It must have at most as many.")
    if layers == "even":
      spaced = np.linspace(0, source_depth - 1, depth)
      return tuple(int(index + 0.5) for index in spaced)
    first = source_depth - depth if layers == "last" else 0
    return tuple(range(first, first + depth))
  layers = tuple(layers)
  if len(layers) != depth or not all(0 <= i < source_depth for i in layers):
    raise UserError(
      f"{depths}, and layers={layers}.",
      f"Expected {depth} indices from 0 to {source_depth - 1}.",
    )
  return layers


def _fault(leaf: str, like: Any, name: str, sources: Mapping[str, Any]) -> str:
  """Why a leaf cannot be copied from the source; "" if it can."""
  if name not in sources:
    return f"{leaf}: the source has no {name}"
  shape = sources[name].shape
  if len(shape) != len(like.shape) or any(
    size > other for size, other in zip(like.shape, shape, strict=True)
  ):
    return f"{leaf} {list(like.shape)} is not a slice of {name} {list(shape)}"
  return ""
