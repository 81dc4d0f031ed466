"""What a part of a network takes from another network's variables."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from kdjax.errors import UserError
from kdjax.stage.parts import HEAD


@dataclasses.dataclass(frozen=True)
class Adoption:
  """What a part takes from another network's variables.

  Attributes:
    taken: paths of leaves, "params/block00/..".
    fresh: those that start fresh.
    left: those of the source that are not taken.
  """

  taken: tuple[str, ...]
  fresh: tuple[str, ...]
  left: tuple[str, ...]

  def __str__(self) -> str:
    modules = lambda leaves: ", ".join(
      dict.fromkeys(leaf.split("/")[1] for leaf in leaves)
    )
    text = f"{len(self.taken)} arrays"
    if self.fresh:
      text += f"; new: {modules(self.fresh)}"
    if self.left:
      text += f"; left over: {modules(self.left)}"
    return text


def adopt(template: Any, source: Any, name: str, origin: str) -> Adoption:
  """Which leaves a part takes from a source with another head, or without.

  Args:
    template: the part's variables, or their shapes.
    source: those of the network or part that it starts from.
    name: of the part, for messages.
    origin: names the source, for messages.

  Raises:
    UserError: layers before the head have other shapes or are missing, or
      nothing fits.
  """
  wanted = dict(_leaves(template))
  there = dict(_leaves(source))
  differs = [
    path
    for path, leaf in wanted.items()
    if path in there and leaf.shape != there[path].shape
  ]
  fresh_modules = {_module(path) for path in differs}
  fresh_modules |= {_module(path) for path in wanted if path not in there}
  wrong = [
    f"{path} is {list(there[path].shape)} there and {list(wanted[path].shape)}"
    " here"
    if path in there
    else f"{path} is missing there"
    for path in wanted
    if (path not in there or path in differs)
    and _module(path) != HEAD
    and any(_module(path) == _module(other) for other in there)
  ]
  taken = [path for path in wanted if _module(path) not in fresh_modules]
  if wrong or not taken:
    more = f", and {len(wrong) - 3} more" if len(wrong) > 3 else ""
    raise UserError(
      f"'{name}' cannot start from {origin}:"
      f" {'; '.join(wrong[:3]) or 'no array fits'}{more}.",
      "Expected the same layers but for the head; from_layers= takes some of"
      " more or wider ones.",
    )
  return Adoption(
    tuple(taken),
    tuple(path for path in wanted if path not in taken),
    tuple(path for path in there if path not in taken),
  )


def chosen(variables: Any, paths: tuple[str, ...]) -> dict[str, Any]:
  """The leaves at some paths, as a tree."""
  result: dict[str, Any] = {}
  leaves = dict(_leaves(variables))
  for path in paths:
    *above, last = path.split("/")
    tree = result
    for step in above:
      tree = tree.setdefault(step, {})
    tree[last] = leaves[path]
  return result


def _leaves(variables: Any) -> Iterator[tuple[str, Any]]:
  for key, value in variables.items():
    if isinstance(value, Mapping):
      for path, leaf in _leaves(value):
        yield f"{key}/{path}", leaf
    else:
      yield key, value


def _module(path: str) -> str:
  """The outermost module of a leaf "params/head/kernel"."""
  return path.split("/")[1]
