"""The configs of trials: an experiment with the values of a space."""

from collections.abc import Mapping
from typing import Any

from kdjax.config import fields, recipes, spaces
from kdjax.config.fields import ConfigDict
from kdjax.errors import UserError


class Candidates:
  """An experiment whose one stage is tuned.

  Args:
    path: of the config, as `fields.load` takes it.
    given: the config with its flags.
    space: key -> values.
    stage: that is tuned; "" is the last one.

  Raises:
    UserError: the experiment has no such stage, method or value, or the space
      lacks the value that the config has.
  """

  def __init__(
    self,
    path: str,
    given: ConfigDict,
    space: spaces.Space,
    stage: str = "",
  ):
    self.path, self.space = path, space
    with recipes.changed({}) as changes:
      plain = fields.load(path)
    before, now = (fields.flatten(it.to_dict()) for it in (plain, given))
    self.flags = {
      key: given_value(given, key)
      for key in now
      if key not in before or now[key] != before[key]
    }
    self.stage = stage or given.order[-1]
    if self.stage not in given.order:
      raise UserError(
        f"No stage '{self.stage}'.", exists=given.order, near=self.stage
      )
    if given.stages[self.stage].grid:
      raise UserError(
        f"The stage '{self.stage}' has a grid.", "Tune one without."
      )
    self.default = self._defaults(given, changes.called)
    for key, value in self.default.items():
      if not space[key].has(value):
        raise UserError(
          f"The space of '{key}' is {described(space[key])}, and the config has"
          f" {value!r}.",
          "Expected a space that holds the default: widen it.",
        )

  def config(self, values: Mapping[str, Any]) -> ConfigDict:
    """The experiment with values of the space; {} is the default.

    Raises:
      UserError: they fit no experiment.
    """
    with recipes.changed(spaces.options_of(values)):
      config = fields.load(self.path)
    with config.unlocked(), config.ignore_type():
      for key, value in self.flags.items():
        owner, last = _owner(config, key)
        owner[last] = value
      for key, value in values.items():
        if not key.startswith(spaces.METHOD):
          spaces.put(config.stages[self.stage], key, value)
    return config

  def _defaults(
    self, given: ConfigDict, called: Mapping[str, Mapping[str, Any]]
  ) -> dict[str, Any]:
    """The value of every key of the space in the config."""
    found = {}
    for key in self.space:
      if not key.startswith(spaces.METHOD):
        found[key] = spaces.get(given.stages[self.stage], key)
        continue
      ((method, options),) = spaces.options_of({key: None}).items()
      (option,) = options
      if method not in called:
        raise UserError(
          f"The space has '{key}', and {self.path} calls no method '{method}'.",
          "Expected a config that calls it, such as"
          f" configs/digits.py:method={method}, or a space of terms.",
          exists=called,
        )
      if option not in called[method]:
        raise UserError(
          f"The method '{method}' has no '{option}'.",
          exists=called[method],
          near=option,
        )
      value = called[method][option]
      found[key] = (
        spaces.defaults_of(method)[option] if value is None else value
      )
    return found


def alone(
  config: ConfigDict, stage: str, *, seed: int, seeds: int, test: bool
) -> ConfigDict:
  """The experiment of one stage and those that it learns from.

  Args:
    config: of the whole experiment.
    stage: the last one.
    seed: the first.
    seeds: how many.
    test: whether stages are measured on the test split.
  """
  needed = with_sources(config, stage)
  result = fields.own(config)
  with result.unlocked(), result.ignore_type():
    result.stages = ConfigDict({name: result.stages[name] for name in needed})
    result.order = tuple(needed)
    result.gains, result.notes = (), ConfigDict()
    result.seed, result.seeds, result.test = seed, seeds, test
  return result.lock()


def with_sources(config: ConfigDict, stage: str) -> list[str]:
  """A stage after all that it learns from, in the order of the experiment."""
  from kdjax.training import dependencies

  needed, left = {stage}, [stage]
  while left:
    plain = config.stages[left.pop()].to_dict()
    new = {*dependencies.sources(plain)} - needed
    needed |= new
    left += sorted(new)
  return [name for name in config.order if name in needed]


def described(values: spaces.Values) -> str:
  """The values of a key, as text."""
  if values.choices:
    return "one of " + ", ".join(map(str, values.choices))
  return f"{values.low:g} to {values.high:g}" + (", log" if values.log else "")


def given_value(config: ConfigDict, key: str) -> Any:
  """The value at a path of keys."""
  owner, last = _owner(config, key)
  return owner[last]


def _owner(config: ConfigDict, key: str) -> tuple[ConfigDict, str]:
  """The part that holds the value at a path, and its name in it."""
  *above, last = _words(config, key)
  for word in above:
    config = config[word]
  return config, last


def _words(config: ConfigDict, key: str) -> list[str]:
  """The keys of a path; a key may have a point."""
  words, rest = [], key
  while rest:
    at = [
      name
      for name in config
      if rest == str(name) or rest.startswith(f"{name}.")
    ]
    if not at:
      raise UserError(
        f"--config.{key} is of no part of a trial's config.",
        "Expected a flag of what the space leaves as it is.",
      )
    name = max(at, key=len)
    words.append(name)
    rest, config = rest[len(str(name)) + 1 :], config[name]
  return words
