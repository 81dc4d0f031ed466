"""Fields of a config: options from their own files, typed, shared by none."""

import pathlib
import re
import runpy
from typing import Any

import ml_collections
from ml_collections import config_dict

from kdjax import registry
from kdjax.errors import UserError

ConfigDict = ml_collections.ConfigDict


def load(path: str) -> ConfigDict:
  """The experiment of a config file: "path.py" or "path.py:argument".

  Raises:
    UserError: there is no such file, or it defines no get_config().
  """
  name, colon, argument = path.partition(":")
  file = pathlib.Path(name)
  if not file.is_file():
    there = sorted(map(str, file.parent.glob("*.py")))
    raise UserError(
      f"No config file '{name}'.",
      "Expected path.py or path.py:argument.",
      exists=there,
      near=name,
    )
  get_config = runpy.run_path(name).get("get_config")
  if get_config is None:
    raise UserError(f"{name} defines no get_config().")
  made = get_config(argument) if colon else get_config()
  if not isinstance(made, ConfigDict):
    raise UserError(
      f"get_config() of {name} returned a {type(made).__name__}.",
      "Expected what kdjax.config.experiment() makes.",
    )
  return made


def options_of(
  room: str, name: str, given: dict[str, Any], *, whole: bool = True
) -> dict[str, Any]:
  """The options of a thing: those given, and where `whole` its own defaults."""
  known = registry.describe(room, name)
  for key in known.options:
    taken = registry.RESERVED[room]
    if key in taken:
      raise UserError(
        f"'{name}' of {room} calls an option '{key}'.",
        f"These names are taken: {', '.join(taken)}.",
      )
  check(given, known.options, f"the options of '{name}'")
  options = {}
  for key, default in known.options.items():
    if not whole and key not in given:
      continue
    value = given.get(key, default)
    if value is registry.REQUIRED:
      raise UserError(f"'{name}' needs a value for its option '{key}'.")
    if isinstance(value, registry.Code):
      continue
    annotation = known.annotations.get(key, "")
    kinds = [kind.strip() for kind in annotation.split("|")]
    if value is None or "None" in kinds:
      kind = {"int": int, "float": float, "str": str, "tuple": tuple}.get(
        re.match(r"\w*", kinds[0]).group(0)
      )
      value = optional(value, kind) if kind else value
    elif kinds == ["float"] and isinstance(value, int):
      value = float(value)
    options[key] = value
  return options


def knobs_of(
  knobs: dict[str, Any], changes: dict[str, Any], what: str
) -> dict[str, Any]:
  """Knobs with their changes; an integer given for a float is one."""
  check(changes, knobs, what)
  return {
    key: float(changes.get(key, default))
    if isinstance(default, float) and type(changes.get(key)) is int
    else changes.get(key, default)
    for key, default in knobs.items()
  }


class Optional(config_dict.FieldReference):
  """A field that is None or of one type, as a flag can set it."""


def optional(value: Any, kind: type) -> Any:
  """`value` as such a field, unless it is a config itself."""
  if isinstance(value, ConfigDict):
    return value
  return Optional(value, field_type=kind)


def own(tree: ConfigDict) -> ConfigDict:
  """A copy that shares nothing with others, as parts of a config file do.

  References that the file made on purpose stay.
  """

  def copy(value):
    if isinstance(value, ConfigDict):
      return own(value)
    if isinstance(value, Optional):
      return Optional(value.get(), field_type=value.get_type())
    return value

  items = tree.items(preserve_field_references=True)
  return ConfigDict({key: copy(value) for key, value in items})


def check(given, known, what: str) -> None:
  """Raises `UserError` for a name in `given` that is not in `known`."""
  for key in given:
    if key not in known:
      raise UserError(f"'{key}' is not among {what}.", exists=known, near=key)


def flatten(tree: dict, prefix: str = "") -> dict[str, Any]:
  """Nested dicts as {"a.b.c": leaf}, tuples as lists (as JSON has them)."""
  leaves = {}
  for key, value in tree.items():
    if isinstance(value, dict):
      leaves.update(flatten(value, f"{prefix}{key}."))
    else:
      value = list(value) if isinstance(value, tuple) else value
      leaves[f"{prefix}{key}"] = value
  return leaves
