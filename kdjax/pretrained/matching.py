"""Matches the tensors of a checkpoint to the leaves of a network."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from kdjax.errors import UserError
from kdjax.pretrained.header import Tensor

# Transposition of kernels from PyTorch's layout to Flax's, by rank: from
# [out in], [O I k] and [O I h w].
AXES = {2: (1, 0), 3: (2, 1, 0), 4: (2, 3, 1, 0)}

# Endings of names in older files -> current endings.
RENAMED = (
  ("LayerNorm.gamma", "LayerNorm.weight"),
  ("LayerNorm.beta", "LayerNorm.bias"),
  (".weight_g", ".parametrizations.weight.original0"),
  (".weight_v", ".parametrizations.weight.original1"),
)

FLOATS = ("F64", "F32", "F16", "BF16")


@dataclasses.dataclass(frozen=True)
class Plan:
  """What to read and what to initialize.

  Attributes:
    read: leaf -> name of its tensor.
    fresh: leaves to initialize, because the checkpoint lacks them.
  """

  read: dict[str, str]
  fresh: tuple[str, ...]


def axes(leaf: str, rank: int) -> tuple[int, ...]:
  """The tensor's axis for each axis of its leaf."""
  if leaf.rpartition("/")[2] == "kernel" and rank in AXES:
    return AXES[rank]
  return tuple(range(rank))


def plan(
  tensors: Mapping[str, Tensor],
  tables: Sequence[Mapping[str, str]],
  shapes: Mapping[str, Any],
  *,
  prefixes: Sequence[str],
  unread: Sequence[str],
  fresh: Sequence[str],
  path: str,
) -> Plan:
  """Matches all leaves to tensors.

  Args:
    tensors: of the checkpoint.
    tables: leaf -> public name, without prefix. The table that fits best is
      used.
    shapes: leaf -> array or its shape.
    prefixes: possible prefixes of public names; the one that fits best is used.
      Parts outside the published base network, such as a classifier, have none.
    unread: regular expressions of tensors to ignore.
    fresh: parts of the network that a checkpoint may lack as a whole: it has
      none of their tensors, or all with other shapes (a classifier for other
      classes).
    path: of the checkpoint, for messages.

  Raises:
    UserError: tensors are missing, unexpected, or of another shape or dtype; it
      lists them all.
  """
  names = {_current(name, tensors): name for name in tensors}
  table, prefix, read = _best(tables, prefixes, names, shapes)
  wrong = {
    leaf: _fault(leaf, tensors[names[name]], names[name], shapes[leaf])
    for leaf, name in read.items()
    if leaf in shapes
  }
  wrong = {leaf: fault for leaf, fault in wrong.items() if fault}
  missing = [leaf for leaf in shapes if leaf not in read]
  initialized = _fresh_leaves(fresh, shapes, missing, wrong)
  used = set(read.values())
  faults = {
    "missing": [
      prefix + table[leaf]
      if leaf in table
      else f"{leaf} of the network, which has no public name"
      for leaf in missing
      if leaf not in initialized
    ],
    "unexpected": [
      original
      for name, original in names.items()
      if name not in used and not _is_unread(name, prefix, unread)
    ],
    "of another shape or dtype": [
      fault for leaf, fault in wrong.items() if leaf not in initialized
    ],
  }
  if any(faults.values()):
    raise UserError(_message(path, len(tensors), len(shapes), faults))
  kept = [leaf for leaf in shapes if leaf not in initialized]
  return Plan({leaf: names[read[leaf]] for leaf in kept}, initialized)


def _best(tables, prefixes, names, shapes):
  """The table and prefix with the most matches, and the matches."""

  def match(table, prefix):
    candidates = {leaf: (prefix + name, name) for leaf, name in table.items()}
    matches = {
      leaf: [name for name in pair if name in names]
      for leaf, pair in candidates.items()
    }
    return {leaf: present[0] for leaf, present in matches.items() if present}

  results = [
    (table, prefix, match(table, prefix))
    for table in tables
    for prefix in prefixes
  ]
  return max(results, key=lambda result: len(result[2].keys() & shapes.keys()))


def _fresh_leaves(fresh, shapes, missing, wrong) -> tuple[str, ...]:
  """The leaves of parts that the checkpoint lacks, or has for other classes."""
  initialized = []
  for part in fresh:
    leaves = [leaf for leaf in shapes if leaf.split("/")[1] == part]
    if all(leaf in missing for leaf in leaves) or all(
      leaf in wrong for leaf in leaves
    ):
      initialized += leaves
  return tuple(initialized)


def _current(name: str, tensors: Mapping[str, Tensor]) -> str:
  """A tensor's current name."""
  for old, new in RENAMED:
    if name.endswith(old):
      renamed = name.removesuffix(old) + new
      return name if renamed in tensors else renamed
  return name


def _is_unread(name: str, prefix: str, unread: Sequence[str]) -> bool:
  return any(
    re.fullmatch(pattern, candidate)
    for pattern in unread
    for candidate in (name, name.removeprefix(prefix))
  )


def _fault(leaf, tensor, name, expected) -> str:
  """A description of a wrong shape or dtype; "" if both are right."""
  order = axes(leaf, len(tensor.shape))
  shape = tuple(tensor.shape[axis] for axis in order)
  if shape != tuple(expected.shape):
    public = expected.shape
    if len(public) == len(order):
      public = [expected.shape[order.index(axis)] for axis in range(len(order))]
    return f"{name} {list(tensor.shape)}, expected {list(public)}"
  if tensor.dtype not in FLOATS:
    return f"{name} of dtype {tensor.dtype}, expected {', '.join(FLOATS)}"
  return ""


def _message(path, tensor_count, leaf_count, faults) -> str:
  lines = [
    f"The checkpoint '{path}' has {tensor_count} tensors and does not fit the"
    f" network, which has {leaf_count} parameters and statistics."
  ]
  for kind, names in faults.items():
    if names:
      lines.append(f"{len(names)} {kind}:")
      lines += [f"  {line}" for line in _grouped(names)]
  return "\n".join(lines)


def _grouped(names: Sequence[str]) -> list[str]:
  """All names; names that differ only in a layer's index share a line."""
  groups: dict[str, list[str]] = {}
  for name in names:
    number = re.search(r"(?<=\.)\d+(?=\.)", name)
    key = name
    if number:
      key = f"{name[: number.start()]}{{}}{name[number.end() :]}"
    groups.setdefault(key, []).append(number.group(0) if number else "")
  return [
    key.replace(
      "{}", numbers[0] if len(numbers) == 1 else f"{{{','.join(numbers)}}}"
    )
    for key, numbers in groups.items()
  ]
