"""The winner of a sweep and the default, trained again on fresh seeds.

Only here is the test split read. The fresh seeds are the config's own, which no
trial had.
"""

import pathlib
from collections.abc import Mapping
from typing import Any

from kdjax.config import fields, strict_json
from kdjax.config.fields import ConfigDict
from kdjax.config.files import write_atomically
from kdjax.sweep import candidates, programs
from kdjax.sweep.sweeping import Sweep
from kdjax.training import experiment, lock

FOLDER, WINNER = "final", "winner.json"

# Ends the names of the stages that the winner has and the default has not.
ENDING = "-winner"


def run(sweep: Sweep, *, quiet: bool = False) -> dict[str, Any] | None:
  """Trains default and winner on fresh seeds, and writes winner.json.

  Args:
    sweep: whose trials are finished.
    quiet: whether no progress is shown.

  Returns:
    The results of the run; None if the default itself is the winner.
  """
  best = sweep.study.best()
  is_default = best.params == sweep.candidate.default
  content = {
    "trial": best.number,
    "validation": best.value,
    "metric": sweep.spec.select,
    "default": sweep.candidate.default,
    "winner": best.params,
    "flags": flags(sweep, best.params),
  }
  write_atomically(
    sweep.folder / WINNER, strict_json.dumps(content, indent=2) + "\n"
  )
  if is_default:
    return None
  folder = sweep.folder / FOLDER
  with lock.locked(sweep.folder / "workers" / FOLDER, programs.WAIT):
    return experiment.run(config(sweep, best.params), folder, quiet=quiet)


def config(sweep: Sweep, values: Mapping[str, Any]) -> ConfigDict:
  """The experiment of the default, the winner, and what the default is over.

  Args:
    sweep: with the default.
    values: of the winner.
  """
  given, stage = sweep.candidate.config({}), sweep.stage
  pairs = [pair for pair in given.gains if pair[0] == stage]
  needed = {
    name
    for last in (stage, *(worse for _, worse in pairs))
    for name in candidates.with_sources(given, last)
  }
  stages = {name: given.stages[name] for name in given.order if name in needed}
  winner = sweep.candidate.config(values)
  names: dict[str, str] = {}
  for name in candidates.with_sources(winner, stage):
    changed = fields.own(winner.stages[name])
    _rename(changed, names)
    if name not in stages or changed.to_dict() != stages[name].to_dict():
      names[name] = f"{name}{ENDING}"
      stages[names[name]] = changed
  gains = [(names[stage], stage)]
  gains += [
    (better, worse) for one, worse in pairs for better in (one, names[one])
  ]
  result = fields.own(given)
  with result.unlocked(), result.ignore_type():
    result.name = f"{given.name}-winner"
    result.stages = ConfigDict(stages)
    result.order = tuple(stages)
    result.gains, result.notes = tuple(gains), ConfigDict()
  return result.lock()


def flags(sweep: Sweep, values: Mapping[str, Any]) -> list[str]:
  """How a run has the values of a trial: flags, or options of a method."""
  stage = sweep.given.stages[sweep.stage]
  lines = []
  for key, value in values.items():
    if key.startswith("method."):
      name, _, option = key.removeprefix("method.").rpartition(".")
      lines.append(f'method("{name}", .., {option}={value!r})')
      continue
    here = stage
    for word in key.split("."):
      here = here[word]
    ending = ".value" if isinstance(here, ConfigDict) else ""
    lines.append(f"--config.stages.{sweep.stage}.{key}{ending}={value}")
  return lines


def results(folder: pathlib.Path) -> dict[str, Any] | None:
  """The results of the last run, from its folder; None without."""
  path = folder / FOLDER / "results.json"
  return strict_json.read(path) if path.exists() else None


def _rename(tree: ConfigDict, names: Mapping[str, str]) -> None:
  """Replaces the stages that a stage learns from by renamed ones."""
  for key, value in tree.items():
    if isinstance(value, ConfigDict):
      _rename(value, names)
    elif key in ("stage", "init_from") and isinstance(value, str):
      name, slash, rest = value.partition("/")
      tree[key] = f"{names.get(name, name)}{slash}{rest}"
