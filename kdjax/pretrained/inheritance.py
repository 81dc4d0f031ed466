"""A student's first values, from the layers of a trained network."""

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
  """Variables of a shallower or narrower network, from another's.

  Block i takes the values of the source's block `layers[i]`. Where the template
  is smaller, an array is the leading slice of the source's, along each axis.
  Sanh et al., "DistilBERT", arXiv:1910.01108, Section 3 (every second layer);
  Wu et al., "TinyCLIP", ICCV 2023, arXiv:2309.12314 (layers and width); Gandhi
  et al., "Distil-Whisper", arXiv:2311.00430 (layers as far apart as can be).

  Heads of attention lie side by side in the width. A leading slice of it is
  whole heads, the first ones, where both networks have heads of one size,
  width / heads; else it cuts heads of the source into pieces and joins pieces
  of several into one, which computes nothing that the source did.

  Args:
    template: variables, or their shapes, of the network that inherits.
    source: variables of the other one, of the same architecture.
    layers: the source's blocks: "first", "last", "even" (the first, the last
      and those evenly between) or their numbers from 0; None where both have
      as many. A network of several parts with blocks, as of image and text,
      counts each part's own.
    keep: parts that stay as the template has them, which are arrays there:
      ("head",).

  Returns:
    NumPy arrays, in the template's dtypes.

  Raises:
    UserError: the layers are not there, or arrays do not fit; it names all.
  """
  names = origins(template, source, layers, keep=keep)
  wanted, there = (
    FLATTEN(dict(template), sep="/"),
    FLATTEN(dict(source), sep="/"),
  )
  made = {}
  for leaf, like in wanted.items():
    if leaf not in names:
      made[leaf] = np.asarray(like)
      continue
    cut = tuple(slice(size) for size in like.shape)
    made[leaf] = np.array(np.asarray(there[names[leaf]])[cut], like.dtype)
  return flax.traverse_util.unflatten_dict(made, sep="/")


def origins(
  template: Variables,
  source: Variables,
  layers: str | Sequence[int] | None = None,
  *,
  keep: Sequence[str] = (),
) -> dict[str, str]:
  """Of each leaf that `inherit` fills, that of the source; reads no values.

  Args:
    template: as of `inherit`, as are the others.
    source: variables, or their shapes.
    layers: the source's blocks.
    keep: parts that are left out.

  Raises:
    UserError: as of `inherit`.
  """
  wanted = FLATTEN(dict(template), sep="/")
  there = FLATTEN(dict(source), sep="/")
  chosen = _chosen(_depths(wanted), _depths(there), layers)
  names, faults = {}, []
  for leaf, like in wanted.items():
    if leaf.split("/")[1] in keep:
      continue
    names[leaf] = BLOCK.sub(
      lambda one, leaf=leaf: (
        f"block{chosen[_part(leaf, one.start())][int(one.group(1))]:02d}"
      ),
      leaf,
    )
    faults.append(_fault(leaf, like, names[leaf], there))
  if any(faults):
    raise UserError(
      "The network cannot inherit from the other one:\n  "
      + "\n  ".join(filter(None, faults))
    )
  return names


def _part(leaf: str, end: int) -> str:
  """What holds a block: the path before it, without the collection."""
  return leaf[:end].partition("/")[2]


def _depths(leaves: Mapping[str, Any]) -> dict[str, int]:
  """How many blocks each part of a network has."""
  depths: dict[str, int] = {}
  for leaf in leaves:
    for one in BLOCK.finditer(leaf):
      part = _part(leaf, one.start())
      depths[part] = max(depths.get(part, 0), int(one.group(1)) + 1)
  return depths


def _chosen(
  wanted: Mapping[str, int],
  there: Mapping[str, int],
  layers: str | Sequence[int] | None,
) -> dict[str, tuple[int, ...]]:
  """The source's block of each block, by part."""
  if wanted.keys() - there.keys():
    raise UserError(
      "The other network has no blocks to inherit from.",
      f"Expected 'block00' and on in {sorted(wanted.keys() - there.keys())}.",
    )
  return {part: _rows(wanted[part], there[part], layers) for part in wanted}


def _rows(depth: int, there: int, layers) -> tuple[int, ...]:
  given = f"A network of {depth} blocks inherits from one of {there}"
  if layers is None:
    if depth != there:
      raise UserError(
        f"{given}.", f"Say which, as layers: {', '.join(CHOICES)} or numbers."
      )
    return tuple(range(depth))
  if isinstance(layers, str):
    if layers not in CHOICES:
      raise UserError(f"No layers '{layers}'.", exists=CHOICES, near=layers)
    if depth > there:
      raise UserError(f"{given}.", "It has at most as many.")
    if layers == "even":
      return tuple(int(one + 0.5) for one in np.linspace(0, there - 1, depth))
    first = there - depth if layers == "last" else 0
    return tuple(range(first, first + depth))
  layers = tuple(layers)
  if len(layers) != depth or not all(0 <= one < there for one in layers):
    raise UserError(
      f"{given}, by layers={layers}.",
      f"Expected {depth} numbers from 0 to {there - 1}.",
    )
  return layers


def _fault(leaf: str, like: Any, name: str, there: Mapping[str, Any]) -> str:
  """Why a leaf cannot come from that of the source, "" if it can."""
  if name not in there:
    return f"{leaf}: the other one has no {name}"
  shape = there[name].shape
  if len(shape) != len(like.shape) or any(
    size > other for size, other in zip(like.shape, shape, strict=True)
  ):
    return f"{leaf} {list(like.shape)}: {name} has {list(shape)}"
  return ""
