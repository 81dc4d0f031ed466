"""Trials as programs: those that differ in numbers alone run as one grid.

A program is trained in a workdir whose name is the hash of its config, and so
is every stage that it learns from: what two trials share is trained once, by
whichever process comes first, and what a killed process began is continued.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kdjax.config import choices, fields, records
from kdjax.config.fields import ConfigDict
from kdjax.stage import grids
from kdjax.sweep import candidates
from kdjax.training import experiment, workdir

# Digits of a hash in the name of a folder.
DIGITS = 12

# Seconds to wait for another process that trains the same stage.
WAIT = 7 * 24 * 3600.0


@dataclasses.dataclass(frozen=True)
class Program:
  """Trials that one compiled program holds.

  Attributes:
    trials: their places in the list that was grouped.
    config: of the stage with its sources, with a grid of a point per trial.
  """

  trials: list[int]
  config: ConfigDict


def grouped(configs: Sequence[ConfigDict], stage: str) -> list[Program]:
  """Groups trials whose configs differ in numbers of a stage alone.

  Args:
    configs: of the stage and its sources, one a trial.
    stage: that is tuned.
  """
  groups: dict[str, list[int]] = {}
  for place, config in enumerate(configs):
    plain = config.to_dict()
    for name in numbers(config, stage):
      _put_plain(plain["stages"][stage], name, None)
    key = json.dumps(plain, sort_keys=True, default=repr)
    groups.setdefault(key, []).append(place)
  return [
    Program(places, _with_grid([configs[place] for place in places], stage))
    for places in groups.values()
  ]


def numbers(config: ConfigDict, stage: str) -> dict[str, float]:
  """The numbers of a stage that a grid may have: term/option -> value."""
  spec = config.stages[stage].to_dict()
  found = {
    f"{term}/{key}": value
    for term, of_term in grids.numbers_of(spec["terms"]).items()
    for key, value in of_term.items()
  }
  if grids.OPTIMIZER not in spec["terms"] and grids.peak(spec) > 0:
    found[grids.LEARNING_RATE] = grids.peak(spec)
  return found


def train(
  config: ConfigDict,
  stage: str,
  root: pathlib.Path,
  observe: Callable[[int, list[float]], None] | None = None,
) -> pathlib.Path:
  """Trains a stage, and first all that it learns from, unless it is trained.

  Args:
    config: of the stage and its sources.
    stage: its name.
    root: the folder of all such workdirs.
    observe: is called after every evaluation, with the step and a value of
      every state.

  Returns:
    The workdir of the stage.

  Raises:
    UserError, DivergedError: as of `experiment.run`.
  """
  # Each source is in a workdir of its own, which links those before it.
  links = {
    source: train(_alone(config, source), source, root)
    for source in config.order
    if source != stage
  }
  folder = root / f"{stage}-{hash_of(config)}"
  for source, made in links.items():
    link = folder / "stages" / source
    if not link.exists():
      link.parent.mkdir(parents=True, exist_ok=True)
      target = os.path.relpath(made / "stages" / source, link.parent)
      with contextlib.suppress(FileExistsError):  # another process made it
        link.symlink_to(target, target_is_directory=True)
  if finished(folder, stage, config) is None:
    more = {} if observe is None else {"observe": observe}
    with experiment.trained(
      config, folder, stage=stage, quiet=True, wait=WAIT, **more
    ):
      pass
  return folder


def finished(
  folder: pathlib.Path, stage: str, config: ConfigDict
) -> dict[str, Any] | None:
  """The result of a stage that is finished; None of any other."""
  result = workdir.stage_result(folder, stage)
  if result is None or not records.is_of(result, config.stages[stage]):
    return None
  return result


def values(result: Mapping[str, Any]) -> list[float]:
  """The mean over seeds on validation, of every point of a program."""
  return [choices.mean(row["validation"]) for row in result["grid"]]


def hash_of(config: ConfigDict) -> str:
  """The hash of all that a workdir's training depends on."""
  plain = workdir.resolve(config)
  for key in ("name", "gains", "notes", "seed_axis"):
    plain.pop(key)
  text = json.dumps(plain, sort_keys=True, default=repr)
  return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()[:DIGITS]


def _alone(config: ConfigDict, stage: str) -> ConfigDict:
  """The experiment of one of the sources."""
  seeds = {"seed": config.seed, "seeds": config.seeds, "test": config.test}
  return candidates.alone(config, stage, **seeds)


def _with_grid(configs: Sequence[ConfigDict], stage: str) -> ConfigDict:
  """The first config, with a grid of the numbers of all."""
  result = fields.own(configs[0])
  points = [numbers(config, stage) for config in configs]
  grid = {name: tuple(point[name] for point in points) for name in points[0]}
  with result.unlocked(), result.ignore_type():
    result.stages[stage].grid = ConfigDict(grid)
  return result.lock()


def _put_plain(stage: dict[str, Any], name: str, value: Any) -> None:
  """Sets a number of a stage's config, as nested dicts."""
  term, _, option = name.partition("/")
  rate = stage["optimizer"]["learning_rate"]
  if name != grids.LEARNING_RATE:
    stage["terms"][term][option] = value
  elif isinstance(rate, dict):
    rate["value"] = value
  else:
    stage["optimizer"]["learning_rate"] = value
