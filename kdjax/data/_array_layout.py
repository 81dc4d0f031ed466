"""Named arrays divided by split: by their names, or an array of words."""

from collections.abc import Mapping, Sequence
from typing import Any

from kdjax.data import _splits
from kdjax.errors import UserError

# The array that names each example's split, among those of a layout.
SPLIT = "split"


def layout(
  named: Mapping[str, Any],
  columns: Sequence[tuple[str, str]] | None,
  where: str,
) -> dict[str, dict[str, Any]]:
  """split -> key -> array; "train" alone if an array holds all splits.

  Args:
    named: name -> array, or its header.
    columns: (key, name) pairs, with {split} in a name; None takes each array by
      its own name.
    where: how messages refer to the arrays.
  """
  of_train = [
    name
    for name in named
    if "/" in name and _splits.named(name.partition("/")[0]) == "train"
  ]
  column = ""
  if columns is not None:
    patterns = dict(columns)
    used = {*patterns.values()}
    rest = {name: array for name, array in named.items() if name not in used}
    column = split_column(rest, where)
  elif of_train:
    keys = [name.partition("/")[2] for name in of_train]
    patterns = {key: f"{{split}}/{key}" for key in keys}
  else:
    column = split_column(named, where)
    patterns = {name: name for name in named if name != column}
  apart = any("{split}" in pattern for pattern in patterns.values())
  parts: dict[str, dict[str, Any]] = {}
  for split in _splits.SPLITS if apart else ("train",):
    names = {
      key: _name(pattern, split, named) for key, pattern in patterns.items()
    }
    missing = [name for name in names.values() if name not in named]
    if split != "train" and len(missing) == len(names):
      continue  # it is drawn from training
    if missing or not names:
      name = (missing or ["train/..."])[0]
      raise UserError(
        f"{where} has no array '{name}'.", exists=named, near=name
      )
    parts[split] = {key: named[name] for key, name in names.items()}
  if not apart and column:
    parts["train"][SPLIT] = named[column]
  _check_splits(parts, named, where)
  return parts


def groups(named: dict[str, Any], name: str, where: str) -> list[str]:
  """Each example's group; an array of words is taken out of `named`.

  Args:
    named: name -> array.
    name: of the array of groups; "" is none.
    where: how messages refer to the arrays.

  Raises:
    UserError: there is no such array.
  """
  if not name:
    return []
  if name not in named or named[name].ndim != 1:
    raise UserError(
      f"{where} has no array '{name}' [N] of groups.", exists=named, near=name
    )
  found = named[name]
  if found.dtype.kind in "OSU":
    del named[name]
  return [str(group) for group in found.tolist()]


def split_column(named: Mapping[str, Any], where: str) -> str:
  """The array that names each example's split, by its name; "" if none.

  Its words are checked where they are read.
  """
  likely = [name for name in named if _splits.is_column(name)]
  words = [name for name in likely if named[name].dtype.kind in "OSU"]
  if len(words) > 1:
    raise UserError(
      f"{where} has two arrays of splits: {words[0]} and {words[1]}.",
      "Remove one, or set columns={key: array}.",
    )
  if likely and not words:
    raise UserError(
      f"The array '{likely[0]}' of {where} is called as a split is, and has"
      f" {named[likely[0]].dtype}, not words.",
      "Expected train, validation and test. To read it as an input, set"
      " columns={key: array}.",
    )
  return words[0] if words else ""


def _name(pattern: str, split: str, named: Mapping[str, Any]) -> str:
  """The array of a split, by the split's own name or another of it."""
  names = [pattern.replace("{split}", it) for it in _splits.names_of(split)]
  folded = {name.casefold(): name for name in named}
  known = [
    folded[name.casefold()] for name in names if name.casefold() in folded
  ]
  return known[0] if known else names[0]


def _check_splits(
  parts: Mapping[str, Mapping[str, Any]], named: Mapping[str, Any], where: str
) -> None:
  """Raises for an array of another split, which would be read as an input."""
  if len(parts) > 1:
    return
  for key in parts["train"]:
    word = key.partition("/")[0]
    if "/" in key and _splits.named(word):
      raise UserError(
        f"{where} has an array '{key}', and none of training.",
        "Name them train/.., validation/.. and test/.. .",
        exists=named,
      )
