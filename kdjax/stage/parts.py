"""The parts of a network's config: their origins, what is still, their rates.

A part is a network inside of another, such as an encoder of `fusion`. Its
variables are at a path of modules: "encoders_text".
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from kdjax.errors import UserError
from kdjax.step import parts, schedules
from kdjax.step.parts import EXCEPT
from kdjax.step.rates import Rates

# Keys of a config that say where first variables are from.
ORIGINS = ("init_from", "pretrained", "arrays")

# The last layer of every network that classifies.
HEAD = "head"


@dataclasses.dataclass(frozen=True)
class Part:
  """A network, or one inside of it.

  Attributes:
    path: of its modules, "encoders_text"; "" is the whole.
    spec: its config.
    field: from the whole module to its own.
  """

  path: str
  spec: Mapping[str, Any]
  field: Callable[[Any], Any]

  @property
  def origin(self) -> str:
    """Which of ORIGINS the part starts from; "" starts fresh."""
    return next((key for key in ORIGINS if self.spec.get(key)), "")


def all_of(spec: Mapping[str, Any], path: str = "") -> Iterator[Part]:
  """A network and all that are inside of it, the outermost first.

  Args:
    spec: the config of a network.
    path: of the network, if it is a part itself.
  """
  yield Part(path, spec, lambda module: module)
  for option, value in spec.items():
    if not isinstance(value, Mapping):
      continue
    inside = {option: value} if _is_network(value) else {
      f"{option}_{key}": it for key, it in value.items()
      if _is_network(it)
    }  # fmt: skip
    for name, inner in inside.items():
      key = None if _is_network(value) else name.removeprefix(f"{option}_")
      for part in all_of(inner, f"{path}/{name}".strip("/")):
        yield dataclasses.replace(part, field=_within(option, key, part.field))


def _is_network(value: Any) -> bool:
  return isinstance(value, Mapping) and isinstance(value.get("name"), str)


def _within(option: str, key: str | None, inner: Callable) -> Callable:
  """From a module to a part of the one that is its option."""

  def field(module):
    value = getattr(module, option)
    return inner(value if key is None else value[key])

  return field


def still(spec: Mapping[str, Any]) -> tuple[str, ...]:
  """The patterns of all that a network holds still."""
  found = []
  for part in all_of(spec):
    patterns = _patterns(part.spec.get("still") or ())
    if part.spec.get("lora"):
      patterns = ("", f"{EXCEPT}{HEAD}")
    for pattern in patterns:
      sign = EXCEPT if pattern.startswith(EXCEPT) else ""
      path = f"{part.path}/{pattern.removeprefix(EXCEPT)}".strip("/")
      found.append(f"{sign}{path}")
  return tuple(found)


def adapted(spec: Mapping[str, Any]) -> dict[str, int]:
  """The paths of the parts with low-rank adapters, and their ranks."""
  return {
    part.path: part.spec["lora"]
    for part in all_of(spec)
    if part.spec.get("lora")
  }


def cached(networks: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
  """The parts of networks whose outputs are cached, as teachers of a stage.

  Args:
    networks: name -> config.

  Returns:
    {"student.encoders_text": {"part": config of the part, "cache": .., ..}}
  """
  return {
    parts.teacher_of(name, part.path): {
      "part": part.spec,
      "paired": not is_shared(spec),
      "cache": part.spec["cache"],
      "store": "float32",
      "rest": "spread",
    }
    for name, spec in networks.items()
    for part in all_of(spec)
    if part.spec.get("cache")
  }


def is_shared(spec: Mapping[str, Any]) -> bool:
  """Whether all seeds hold the same variables still: published ones."""
  return all(part.origin in ("", "pretrained") for part in all_of(spec))


def rates(spec: Mapping[str, Any], steps: int) -> Rates:
  """The patterns of a network, the longest first, and factors of its rate.

  Args:
    spec: the config of a network.
    steps: of the stage, for schedules.
  """
  found = [
    (f"{part.path}/{pattern}".strip("/"), schedules.make(rate, steps))
    for part in all_of(spec)
    for pattern, rate in (part.spec.get("rates") or {}).items()
  ]
  # A config does not keep the order of its keys.
  return tuple(sorted(found, key=lambda pair: -len(pair[0])))


def check_patterns(spec: Mapping[str, Any], variables: Any, name: str) -> None:
  """Raises `UserError` for a pattern of `still` or `rates` without a match.

  Args:
    spec: the config of a network.
    variables: of it, or their shapes.
    name: of the network, for messages.
  """
  paths = list(leaf_paths(variables["params"]))
  for key, patterns in (
    ("still", still(spec)),
    ("rates", [pattern for pattern, _ in rates(spec, 1)]),
  ):
    for pattern in patterns:
      plain = pattern.removeprefix(EXCEPT)
      if plain.endswith(HEAD) and plain != pattern:
        continue  # an encoder has none
      if not any(parts.matches(path, (plain,)) for path in paths):
        raise UserError(
          f"{key} of the network '{name}' has '{pattern}', which no part is"
          " called.",
          exists={path.partition("/")[0] for path in paths},
          near=pattern.replace("/", "_"),
        )


def leaf_paths(tree: Mapping[str, Any], path: str = "") -> Iterator[str]:
  """The paths of all leaves: "block00/attention/query/kernel"."""
  for key, value in tree.items():
    here = f"{path}/{key}".strip("/")
    if isinstance(value, Mapping):
      yield from leaf_paths(value, here)
    else:
      yield here


def find(spec: Mapping[str, Any], text: str) -> str | None:
  """The path of a part by its name; None: no or several parts have it.

  Args:
    spec: the config of a network.
    text: "image", "encoders/image" or the path encoders_image.
  """
  name = text.replace("/", "_")
  paths = [part.path for part in all_of(spec) if part.path]
  plain = {path.replace("/", "_"): path for path in paths}
  found = [plain[name]] if name in plain else [
    path for key, path in plain.items() if key.endswith(f"_{name}")
  ]  # fmt: skip
  return found[0] if len(found) == 1 else None


def _patterns(value: Any) -> tuple[str, ...]:
  if value is True:
    return ("",)
  return (value,) if isinstance(value, str) else tuple(value)
