"""Values of a config: loaded from a file, checked, typed, and copied.

Defaults of components are read from their own files, so that none is written
twice.
"""

import inspect
import pathlib
import re
import runpy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import ml_collections
import yaml
from ml_collections import config_dict

from kdjax import registry
from kdjax.config import locations
from kdjax.errors import UserError
from kdjax.registry import folders


class ConfigDict(ml_collections.ConfigDict):
  """A config; printed, its values are plain YAML."""

  def __init__(self, initial_dictionary: Any = None, **options):
    # Otherwise, dicts inside become configs of the parent class.
    if isinstance(initial_dictionary, dict):
      initial_dictionary = {
        key: ConfigDict(value) if isinstance(value, dict) else value
        for key, value in initial_dictionary.items()
      }
    super().__init__(initial_dictionary, **options)

  def __str__(self) -> str:
    return yaml.safe_dump(_plain(self.to_dict()), sort_keys=False)

  def __repr__(self) -> str:
    return str(self)


# Keys that a config has beside the options of a component.
RESERVED = {
  "losses": (
    "loss",
    "weight",
    "reads",
    "heads",
    "bridges",
    "targets",
    "group",
  ),
  "models": (
    *("name", "init_from", "pretrained", "from_layers", "arrays"),
    *("still", "rates", "lora", "cache"),
  ),
  "heads": ("name", "init_from", "still", "of"),
  "data": (
    "name",
    "feed",
    "workers",
    "labelled_fraction",
    "sampling",
    "buckets",
    "drops",
    "pipelines",
    "augmentations",
    "augment_seed",
    "last_batch",
  ),
  "metrics": ("name", "reads", "heads"),
}


def load(path: str) -> ConfigDict:
  """The experiment of a config file: "path.py" or "path.py:argument".

  Relative paths of components and of `data.root` in it are looked for in its
  folder, then in the working directory.

  Raises:
    UserError: there is no such file, or it defines no get_config().
  """
  name, colon, argument = path.partition(":")
  file = pathlib.Path(name)
  if not file.is_file():
    files = sorted(map(str, file.parent.glob("*.py")))
    raise UserError(
      f"The config file '{name}' does not exist.",
      "Expected path.py or path.py:argument.",
      exists=files,
      near=name,
    )
  folders.add(file.parent)
  try:
    get_config = runpy.run_path(name).get("get_config")
  except SyntaxError as error:
    raise UserError(
      f"{error.filename}, line {error.lineno}: {error.msg}.",
      "Expected a Python file.",
    ) from error
  if get_config is None:
    raise UserError(
      f"{name} defines no get_config().",
      'Expected `def get_config(argument="")`, which returns an experiment().',
    )
  try:
    inspect.signature(get_config).bind(*[argument] * bool(colon))
  except TypeError as error:
    raise UserError(
      f"get_config() of {name} cannot be called"
      f" {'with' if colon else 'without'} an argument: {error}.",
      'Expected `def get_config(argument="")`.',
    ) from None
  config = get_config(*[argument] * bool(colon))
  if not isinstance(config, ConfigDict):
    raise UserError(
      f"get_config() of {name} returned a {type(config).__name__}.",
      "Expected the result of kdjax.config.experiment().",
    )
  locations.anchor(config, file.parent)
  return config


def options_of(
  kind: str, name: str, changes: dict[str, Any], *, whole: bool = True
) -> dict[str, Any]:
  """The options of a component, with changes.

  Args:
    kind: of the component, as in `registry.find`.
    name: of the component.
    changes: option -> its value.
    whole: whether options that are not changed appear with their defaults.

  Raises:
    UserError: there is no such option, or one without a default has no value.
  """
  known = registry.describe(kind, name)
  reserved = RESERVED[kind]
  for option in known.options:
    if option in reserved:
      raise UserError(
        f"{known.path}: the option '{option}' has a name that configs use.",
        f"Rename it; reserved are {', '.join(reserved)}.",
      )
  check(changes, known.options, f"the options of '{name}'")
  options = {}
  for option, default in known.options.items():
    if not whole and option not in changes:
      continue
    value = changes.get(option, default)
    if value is registry.REQUIRED:
      raise UserError(f"'{name}' needs a value for its option '{option}'.")
    if not isinstance(value, registry.Code):
      options[option] = _typed(value, known.annotations.get(option, ""))
  return options


def without(mapping: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
  """A mapping without some of its keys."""
  return {key: value for key, value in mapping.items() if key not in keys}


class Optional(config_dict.FieldReference):
  """A field that is None or of one type, so that a flag can set it."""


def optional(value: Any, kind: type) -> Any:
  """A value that may be None, as a typed field; a config stays as it is."""
  if isinstance(value, ConfigDict):
    return value
  return Optional(value, field_type=kind)


def set_none(tree: ConfigDict, path: Sequence[str]) -> bool:
  """Sets the value at a path of keys to None; False if it is not `optional`."""
  *above, last = path
  for key in above:
    tree = tree[key]
  held = dict(tree.items(preserve_field_references=True)).get(last)
  if isinstance(held, Optional):
    tree[last] = None
  return isinstance(held, Optional)


def own(tree: ConfigDict) -> ConfigDict:
  """A copy that shares no part with its source; field references stay."""

  def copy(value):
    if isinstance(value, ConfigDict):
      return own(value)
    if isinstance(value, Optional):
      return Optional(value.get(), field_type=value.get_type())
    return value

  items = tree.items(preserve_field_references=True)
  return ConfigDict({key: copy(value) for key, value in items})


def check(names: Iterable[str], known: Iterable[str], what: str) -> None:
  """Raises `UserError` for a name that is not among the known ones."""
  for name in names:
    if name not in known:
      raise UserError(f"No '{name}' among {what}.", exists=known, near=name)


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


def _typed(value: Any, annotation: str) -> Any:
  """A value in the type of its annotation: a float, or a type or None."""
  types = [one.strip() for one in annotation.split("|")]
  if value is None or "None" in types:
    word = re.match(r"\w*", types[0]).group(0)
    kinds = {"int": int, "float": float, "str": str, "tuple": tuple}
    return optional(value, kinds[word]) if word in kinds else value
  if types == ["float"] and isinstance(value, int):
    return float(value)
  return value


def _plain(value: Any) -> Any:
  """A value as YAML has it: lists for tuples."""
  if isinstance(value, dict):
    return {key: _plain(one) for key, one in value.items()}
  if isinstance(value, list | tuple):
    return [_plain(one) for one in value]
  return value
