"""Which tensor of a checkpoint is which leaf of a network."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from kdjax.errors import UserError
from kdjax.pretrained.header import Tensor

# How axes move from PyTorch's layout to Flax's, of a kernel, by its rank:
# [out in], [O I k] and [O I h w].
AXES = {2: (1, 0), 3: (2, 1, 0), 4: (2, 3, 1, 0)}

# Endings of older files, and what they are called today.
RENAMED = (
  ("LayerNorm.gamma", "LayerNorm.weight"),
  ("LayerNorm.beta", "LayerNorm.bias"),
  (".weight_g", ".parametrizations.weight.original0"),
  (".weight_v", ".parametrizations.weight.original1"),
)

FLOATS = ("F64", "F32", "F16", "BF16")


@dataclasses.dataclass(frozen=True)
class Plan:
  """What to read, and what to make.

  Attributes:
    read: leaf -> name of its tensor.
    fresh: leaves that the checkpoint does not have, and may lack.
  """

  read: dict[str, str]
  fresh: tuple[str, ...]


def axes(leaf: str, rank: int) -> tuple[int, ...]:
  """Which axis of a tensor each axis of its leaf is."""
  if leaf.rpartition("/")[2] == "kernel" and rank in AXES:
    return AXES[rank]
  return tuple(range(rank))


def plan(
  there: Mapping[str, Tensor],
  tables: Sequence[Mapping[str, str]],
  shapes: Mapping[str, Any],
  *,
  prefixes: Sequence[str],
  unread: Sequence[str],
  fresh: Sequence[str],
  path: str,
) -> Plan:
  """Fits tensors to leaves, all of them.

  Args:
    there: the tensors of the checkpoint.
    tables: leaf -> public name, without prefix; of several the one that fits
      best counts.
    shapes: leaf -> what has its shape.
    prefixes: what public names may begin with; the one that fits best counts.
      What lies beside the network in a model of a task, as its classifier,
      has none.
    unread: regular expressions of tensors that nobody needs.
    fresh: parts of the network that a checkpoint may lack, each wholly: it has
      none of its tensors, or all of another shape, as a classifier of other
      classes has.
    path: of the checkpoint, for messages.

  Raises:
    UserError: tensors are missing, left over, or of another shape or dtype; it
      names them all.
  """
  names = {_today(name, there): name for name in there}
  table, prefix, read = _best(tables, prefixes, names, shapes)
  wrong = {
    leaf: _fault(leaf, there[names[name]], names[name], shapes[leaf])
    for leaf, name in read.items()
    if leaf in shapes
  }
  wrong = {leaf: fault for leaf, fault in wrong.items() if fault}
  lost = [leaf for leaf in shapes if leaf not in read]
  made = _made(fresh, shapes, lost, wrong)
  taken = set(read.values())
  faults = {
    "missing": [
      prefix + table[leaf]
      if leaf in table
      else f"{leaf} of the network, which has no public name"
      for leaf in lost
      if leaf not in made
    ],
    "left over": [
      given
      for name, given in names.items()
      if name not in taken and not _is_unread(name, prefix, unread)
    ],
    "of another shape or dtype": [
      fault for leaf, fault in wrong.items() if leaf not in made
    ],
  }
  if any(faults.values()):
    raise UserError(_said(path, len(there), len(shapes), faults))
  kept = [leaf for leaf in shapes if leaf not in made]
  return Plan({leaf: names[read[leaf]] for leaf in kept}, made)


def _best(tables, prefixes, names, shapes):
  """The table and the prefix that find most, and what they find."""

  def found(table, prefix):
    both = {leaf: (prefix + name, name) for leaf, name in table.items()}
    there = {
      leaf: [name for name in some if name in names]
      for leaf, some in both.items()
    }
    return {leaf: some[0] for leaf, some in there.items() if some}

  tried = [
    (table, prefix, found(table, prefix))
    for table in tables
    for prefix in prefixes
  ]
  return max(tried, key=lambda one: len(one[2].keys() & shapes.keys()))


def _made(fresh, shapes, lost, wrong) -> tuple[str, ...]:
  """The leaves of parts that the checkpoint lacks, or has for other classes."""
  made = []
  for part in fresh:
    leaves = [leaf for leaf in shapes if leaf.split("/")[1] == part]
    if all(leaf in lost for leaf in leaves) or all(
      leaf in wrong for leaf in leaves
    ):
      made += leaves
  return tuple(made)


def _today(name: str, there: Mapping[str, Tensor]) -> str:
  for old, new in RENAMED:
    if name.endswith(old):
      renamed = name.removesuffix(old) + new
      return name if renamed in there else renamed
  return name


def _is_unread(name: str, prefix: str, unread: Sequence[str]) -> bool:
  return any(
    re.fullmatch(one, candidate)
    for one in unread
    for candidate in (name, name.removeprefix(prefix))
  )


def _fault(leaf, tensor, name, expected) -> str:
  """What is wrong with a tensor, "" if nothing."""
  moved = axes(leaf, len(tensor.shape))
  shape = tuple(tensor.shape[axis] for axis in moved)
  if shape != tuple(expected.shape):
    back = expected.shape
    if len(back) == len(moved):
      back = [expected.shape[moved.index(axis)] for axis in range(len(moved))]
    return f"{name} {list(tensor.shape)} where {list(back)} is expected"
  if tensor.dtype not in FLOATS:
    return f"{name} of dtype {tensor.dtype} where {', '.join(FLOATS)} are read"
  return ""


def _said(path, there, expected, faults) -> str:
  lines = [
    f"The checkpoint '{path}', {there} tensors, does not fit the network, which"
    f" has {expected}."
  ]
  for what, found in faults.items():
    if found:
      lines.append(f"{len(found)} {what}:")
      lines += [f"  {one}" for one in _grouped(found)]
  return "\n".join(lines)


def _grouped(found: Sequence[str]) -> list[str]:
  """All of them, those that differ in the number of a layer as one line."""
  groups: dict[str, list[str]] = {}
  for one in found:
    number = re.search(r"(?<=\.)\d+(?=\.)", one)
    key = one
    if number:
      key = f"{one[: number.start()]}{{}}{one[number.end() :]}"
    groups.setdefault(key, []).append(number.group(0) if number else "")
  return [
    key.replace(
      "{}", numbers[0] if len(numbers) == 1 else f"{{{','.join(numbers)}}}"
    )
    for key, numbers in groups.items()
  ]
