"""An experiment: its stages in order, each skipped, continued or begun."""

import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax

from kdjax.config.fields import ConfigDict
from kdjax.devices import compilation_cache
from kdjax.devices.placement import Placement
from kdjax.errors import UserError
from kdjax.stage import build, grids
from kdjax.stage.stage import Stage
from kdjax.teachers import cache_plan
from kdjax.training import check, initialization
from kdjax.training import workdir as workdirs
from kdjax.training.loop import Loop


def run(
  config: ConfigDict,
  workdir: str | pathlib.Path,
  *,
  stage: str | None = None,
  quiet: bool = False,
) -> dict[str, Any]:
  """Runs the stages of an experiment and writes its report.

  The same call continues a run that was cut off; a finished stage is skipped.

  Args:
    config: of the experiment, from `get_config()`.
    workdir: where everything is written.
    stage: run this one alone.
    quiet: whether no progress is shown.

  Returns:
    The numbers of results.json.

  Raises:
    UserError: something that cannot work, said before anything is written;
      or, later, a loss that is not finite: the last good checkpoint stays.
  """
  from kdjax import report

  compilation_cache.remember(pathlib.Path(workdir))
  plain = workdirs.resolve(config)
  names = [stage] if stage else list(plain["order"])
  check.plan(plain, names)
  workdir = pathlib.Path(workdir)
  workdirs.compare(workdir, plain)
  check.history(plain, workdir, names)
  workdirs.enter(workdir, plain)
  quiet = quiet or jax.process_index() > 0
  for name in names:
    run_stage(plain, workdir, name, quiet=quiet)
  if jax.process_index() == 0:
    return report.write(workdir)
  return {}


def run_stage(
  config: Mapping[str, Any],
  workdir: pathlib.Path,
  name: str,
  *,
  quiet: bool = False,
) -> dict[str, Any]:
  """Trains one stage, unless it is finished."""
  result = workdirs.finished(workdir, name)
  stage = build.build(config, name)
  if result and result["steps"] >= stage.config["steps"]:
    if not quiet:
      print(f"{name}: finished, {result['steps']} steps")
    return result
  taught = {
    source: check.steps_of(config, workdir, name, source)
    for source in check.sources(stage.config)
  }
  placement = place(config, stage)
  seeds, grid = seeds_of(config), stage.config["grid"]
  fixed = grids.fixed(grid, initialization.fixed_of(stage, workdir, seeds))
  given = grids.repeated(
    grid, initialization.given(config, stage, workdir, seeds)
  )
  stage = build.build(config, name, placement.axis_name)
  seeds = grids.repeated(grid, seeds)
  loop = Loop(stage, placement, workdir, seeds, fixed, given, quiet=quiet)
  return loop.run(taught=taught)


def caches(
  config: ConfigDict, workdir: pathlib.Path, only: str | None = None
) -> Iterator[tuple[Stage, list[cache_plan.Plan]]]:
  """The caches that the teachers of an experiment have.

  Args:
    config: of the experiment.
    workdir: where the teachers' stages have run.
    only: this stage's.

  Yields:
    A stage, and its caches.

  Raises:
    UserError: no teacher has one, or its stage has not run.
  """
  compilation_cache.remember(workdir)
  plain = workdirs.resolve(config)
  names = [only] if only else list(plain["order"])
  check.plan(plain, names)
  found = False
  for name in names:
    stage = build.build(plain, name)
    teachers_of = stage.config["teachers"].items()
    cached = [key for key, teacher in teachers_of if teacher.get("cache")]
    if not cached:
      continue
    found = True
    placement = place(plain, stage)
    seeds = seeds_of(plain)
    fixed = initialization.fixed_of(stage, workdir, seeds)
    stage = build.build(plain, name, placement.axis_name)
    orders = stage.train_feeds(seeds)
    plans = [
      one
      for key in cached
      for one in cache_plan.plan(stage, workdir, key, orders, fixed)
    ]
    yield stage, list({one.path: one for one in plans}.values())
  if not found:
    raise UserError(
      f"No teacher of {', '.join(names)} has a cache.",
      'Give it one: teacher("large", cache="auto").',
    )


def place(config: Mapping[str, Any], stage: Stage) -> Placement:
  """The placement that a config asks for."""
  paired = {
    name: teacher["paired"]
    for name, teacher in stage.config["teachers"].items()
    if "paired" in teacher
  }
  states = config["seeds"] * grids.count(stage.config["grid"])
  return Placement(config["placement"], states, config["seed_axis"], paired)


def seeds_of(config: Mapping[str, Any]) -> list[int]:
  """The seeds of a run."""
  return [config["seed"] + place for place in range(config["seeds"])]
