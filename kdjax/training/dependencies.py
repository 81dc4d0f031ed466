"""Which stages a stage starts or learns from, and whether they are trained."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from kdjax.config import records
from kdjax.errors import UserError
from kdjax.stage import parts
from kdjax.training import workdir


def sources(stage: Mapping[str, Any]) -> list[str]:
  """The stages that a stage's config takes networks or heads from."""
  names = [teacher["stage"] for teacher in trained_teachers(stage).values()]
  names += [
    part.spec.get("init_from")
    for network in stage["networks"].values()
    for part in parts.all_of(network)
  ]
  names += [
    head.get("init_from")
    for term in stage["terms"].values()
    for head in term["heads"].values()
  ]
  return list(dict.fromkeys(name.partition("/")[0] for name in names if name))


def trained_teachers(stage: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
  """The configs of the teachers that an earlier stage trains, by name."""
  return {
    name: teacher
    for name, teacher in stage["teachers"].items()
    if "stage" in teacher
  }


def finished_steps(
  config: Mapping[str, Any], folder: pathlib.Path, name: str
) -> dict[str, int]:
  """The sources of a stage and their steps: {stage: steps}.

  Args:
    config: of the experiment, as nested dicts.
    folder: the workdir.
    name: of the stage.

  Raises:
    UserError: a source is not finished.
  """
  return {
    source: _steps_of(config, folder, name, source)
    for source in sources(config["stages"][name])
  }


def check_history(
  config: Mapping[str, Any],
  folder: pathlib.Path,
  names: Sequence[str],
  accept: Sequence[str] = (),
) -> None:
  """Checks that the stages in a workdir allow some stages to run.

  Args:
    config: of the experiment, as nested dicts.
    folder: the workdir.
    names: of the stages that are to run, in order.
    accept: with "teachers", a finished stage keeps what it learned from a
      teacher that is trained further.

  Raises:
    UserError: a finished stage has more steps than the config, a finished
      stage used a source that is to be trained further, or a source is
      missing.
  """
  for name in config["order"]:
    result = workdir.stage_result(folder, name)
    if result and result["steps"] > config["stages"][name]["steps"]:
      raise UserError(
        f"The stage '{name}' is finished, with {result['steps']} steps.",
        f"It cannot be run with {config['stages'][name]['steps']} steps.",
      )
    for source, steps in (result["teachers"] if result else {}).items():
      new_steps = config["stages"][source]["steps"]
      stopped = _has_stopped(folder, source)
      if stopped:
        goes_on = not records.is_of(stopped, config["stages"][source])
      else:
        goes_on = new_steps > steps
      if goes_on and "teachers" not in accept:
        raise UserError(
          f"The finished stage '{name}' learned from '{source}' after {steps} "
          f"steps, and '{source}' has {new_steps} steps in the config."
          if not stopped
          else f"The finished stage '{name}' learned from '{source}', which"
          " stopped early, and goes on with another patience.",
          f"To train '{name}' again, delete {folder / 'stages' / name};"
          " --accept=teachers keeps it.",
        )
  for i, name in enumerate(names):
    for source in sources(config["stages"][name]):
      if source not in names[:i]:
        _steps_of(config, folder, name, source)


def _has_stopped(folder: pathlib.Path, source: str) -> dict[str, Any] | None:
  """The result of a stage that stopped early; None of any other."""
  result = workdir.stage_result(folder, source)
  return result if result and result.get("stopped") else None


def _steps_of(config, folder, name: str, source: str) -> int:
  """The steps of the finished stage `source`, which the stage `name` uses."""
  result = workdir.stage_result(folder, source)
  if result is None or not records.is_of(result, config["stages"][source]):
    raise UserError(
      f"The stage '{name}' learns from '{source}', which is not finished.",
      f"Run that first: --stage={source}.",
    )
  return result["steps"]
