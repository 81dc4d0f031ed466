"""Spaces: which numbers of an experiment a sweep chooses, and between what.

A space is a dict of a key and its values:

  "method.kd.temperature"    an option of a method that the config calls
  "terms.kd.temperature"     a value of the stage that is tuned
  "optimizer.learning_rate"  so; of a schedule, its value

`of_method` derives the space of a method from its file.
"""

import math
import pathlib
import re
import runpy
from collections.abc import Mapping
from typing import Any, NamedTuple

from kdjax import registry
from kdjax.config.fields import ConfigDict
from kdjax.errors import UserError

# Begins the key of an option of a method.
METHOD = "method."

# A weight, and a temperature, is searched up to so many times its default, and
# down to that part of it.
OF_WEIGHTS, OF_TEMPERATURES = 10.0, 4.0


class Values(NamedTuple):
  """The values of one key.

  Attributes:
    low: the least number.
    high: the largest number.
    log: whether the logarithm is uniform.
    whole: whether only whole numbers are among them.
    choices: the values themselves, in place of a range; () is a range.
  """

  low: float = 0.0
  high: float = 0.0
  log: bool = False
  whole: bool = False
  choices: tuple = ()

  def has(self, value: Any) -> bool:
    """Whether a value is among them."""
    if self.choices:
      return value in self.choices
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and self.low <= value <= self.high

  def spread(self, count: int) -> list[Any]:
    """Values at equal distances, the ends included; of choices all."""
    if self.choices:
      return list(self.choices)
    parts = [i / max(1, count - 1) for i in range(count)]
    if self.log:
      ends = math.log(self.low), math.log(self.high)
      found = [math.exp(ends[0] + part * (ends[1] - ends[0])) for part in parts]
    else:
      found = [self.low + part * (self.high - self.low) for part in parts]
    found[0], found[-1] = self.low, self.high  # not rounded
    return list(dict.fromkeys(map(round, found))) if self.whole else found


Space = dict[str, Values]


def log_range(low: float, high: float) -> Values:
  """Numbers from low to high, uniform in their logarithm: above 0.

  Raises:
    UserError: the ends are not 0 < low < high.
  """
  if not 0 < low < high < math.inf:
    raise UserError(
      f"log_range({low:g}, {high:g}) is no range.", "Expected 0 < low < high."
    )
  return Values(float(low), float(high), log=True)


def linear_range(low: float, high: float) -> Values:
  """Numbers from low to high, uniform.

  Raises:
    UserError: the ends are not low < high.
  """
  if not -math.inf < low < high < math.inf:
    raise UserError(
      f"linear_range({low:g}, {high:g}) is no range.", "Expected low < high."
    )
  return Values(float(low), float(high))


def whole_range(low: int, high: int) -> Values:
  """Whole numbers from low to high, both included."""
  return linear_range(low, high)._replace(whole=True)


def one_of(*values: bool | int | float | str) -> Values:
  """One of some values; each may need a program of its own.

  Raises:
    UserError: there are fewer than two.
  """
  if len(values) < 2:
    raise UserError("one_of() has fewer than two values.", "Expected more.")
  return Values(choices=values)


def load(text: str) -> Space:
  """The space that --space names.

  Args:
    text: path.py or path.py:argument, whose `get_space(argument="")` returns
      a space; or the name of a method.

  Raises:
    UserError: there is no such file or method, or it returns no space.
  """
  path, _, argument = text.partition(":")
  if not path.endswith(".py"):
    return of_method(text)
  if not pathlib.Path(path).is_file():
    raise UserError(
      f"The space '{path}' does not exist.",
      "Expected path.py, path.py:argument, or the name of a method.",
    )
  get_space = runpy.run_path(path).get("get_space")
  if get_space is None:
    raise UserError(
      f"{path} defines no get_space().",
      'Expected `def get_space(argument="")`, which returns {key: values}.',
    )
  space = get_space(argument)
  if not (
    isinstance(space, Mapping)
    and space
    and all(isinstance(one, Values) for one in space.values())
  ):
    raise UserError(
      f"get_space() of {path} returned no space.",
      'Expected a dict such as {"terms.kd.weight": log_range(0.1, 10)}.',
    )
  return dict(space)


def of_method(name: str) -> Space:
  """The space of a method: its weights and temperatures, on log scales.

  A weight is an option that is called so, or that the method's docstring calls
  "weight of .."; one of which labels get the rest, 1 - weight, is at most 1.
  One whose default is 0 is a part that is off, and stays so. Where the method's
  file has SPACE = {option: (low, high) or [choices]}, that replaces or adds an
  option.

  Args:
    name: of the method.

  Raises:
    UserError: there is no such method, or it has no such option.
  """
  about, defaults = registry.describe("methods", name), defaults_of(name)
  space = {}
  for option, default in defaults.items():
    factor = _factor(option, about.doc)
    if factor and _is_number(default) and default > 0:
      rest = f"1 - {option}" in about.doc
      high = min(default * factor, 1.0 if rest else math.inf)
      space[option] = log_range(default / factor, high)
  for option, values in _constant(name, "SPACE").items():
    if option not in about.options:
      raise UserError(
        f"SPACE of {about.path} has '{option}'.",
        exists=about.options,
        near=option,
      )
    space[option] = _stated(values, defaults[option])
  return {f"{METHOD}{name}.{option}": it for option, it in space.items()}


def defaults_of(name: str) -> dict[str, Any]:
  """The defaults of a method's options.

  Where one is None, and the method's file has WEIGHTS by the values of another
  option, it is the weight of that option's default.
  """
  options = registry.describe("methods", name).options
  weights = _constant(name, "WEIGHTS")
  weight = next((weights[it] for it in options.values() if it in weights), None)
  return {
    option: weight if default is None and option == "weight" else default
    for option, default in options.items()
  }


def options_of(values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
  """The options of methods among the values of a space: {method: options}."""
  options: dict[str, dict[str, Any]] = {}
  for key, value in values.items():
    if key.startswith(METHOD):
      name, _, option = key.removeprefix(METHOD).rpartition(".")
      options.setdefault(name, {})[option] = value
  return options


def get(stage: ConfigDict, key: str) -> Any:
  """The value at a key of a stage: "terms.kd.temperature".

  Raises:
    UserError: the stage has no such value.
  """
  owner, last = _owner(stage, key)
  return owner[last]


def put(stage: ConfigDict, key: str, value: Any) -> None:
  """Sets the value at a key of a stage, as `get` reads it."""
  owner, last = _owner(stage, key)
  before = owner[last]
  owner[last] = float(value) if isinstance(before, float) else value


def _owner(stage: ConfigDict, key: str) -> tuple[ConfigDict, str]:
  """The part of a stage that holds a value, and the value's name in it."""
  here, walked = stage, []
  *above, last = key.split(".")
  for word in [*above, last]:
    if not isinstance(here, ConfigDict) or word not in here:
      raise UserError(
        f"The space has '{key}', and the stage has no"
        f" '{'.'.join([*walked, word])}'.",
        exists=list(here) if isinstance(here, ConfigDict) else None,
        near=word,
      )
    owner, here = here, here[word]
    walked.append(word)
  if isinstance(here, ConfigDict) and "kind" in here:
    return here, "value"  # of a schedule
  if isinstance(here, ConfigDict):
    raise UserError(
      f"The space has '{key}', which holds several values of the stage.",
      exists=list(here),
    )
  return owner, last


def _constant(name: str, constant: str) -> dict[str, Any]:
  """A table of a method's file; {} without."""
  function = registry.find("methods", name)
  return getattr(function, "__globals__", {}).get(constant, {})


def _factor(option: str, doc: str) -> float:
  """By what a default is multiplied for its range; 0 is not in the space."""
  last = option.rpartition("_")[2]
  if last == "temperature":
    return OF_TEMPERATURES
  said = re.search(rf"^ *{option}: (the )?weight of", doc, re.MULTILINE)
  return OF_WEIGHTS if last == "weight" or said else 0.0


def _stated(values: Any, default: Any) -> Values:
  """The values of an option as a method's file states them."""
  if isinstance(values, list):
    return one_of(*values)
  low, high = values
  if isinstance(default, int):
    return whole_range(low, high)
  return log_range(low, high) if low > 0 else linear_range(low, high)


def _is_number(value: Any) -> bool:
  return isinstance(value, int | float) and not isinstance(value, bool)
