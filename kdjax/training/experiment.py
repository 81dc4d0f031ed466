"""Runs the stages of an experiment in order, and lists its caches."""

import contextlib
import functools
import gc
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax

from kdjax.config import progress, records, terminal
from kdjax.config.fields import ConfigDict
from kdjax.devices import compilation_cache
from kdjax.errors import UserError
from kdjax.stage import build, grids
from kdjax.stage.stage import Stage
from kdjax.teachers import cache_plan
from kdjax.training import (
  check,
  checkpoints,
  dependencies,
  initialization,
  lock,
  placed,
  provenance_check,
)
from kdjax.training import workdir as workdirs
from kdjax.training.loop import Loop
from kdjax.training.progress import Observe, unobserved

# The compiled programs of at most so many finished stages are kept.
KEPT = 4


def run(
  config: ConfigDict,
  workdir: str | pathlib.Path,
  *,
  stage: str | None = None,
  quiet: bool = False,
  accept: Sequence[str] = (),
) -> dict[str, Any]:
  """Runs the stages of an experiment and writes its report.

  The same call continues an interrupted run; finished stages are skipped.

  Args:
    config: of the experiment, from `get_config()`.
    workdir: folder for all files of the run.
    stage: name of the only stage to run; None runs all.
    quiet: whether no progress is shown.
    accept: what may differ from what the workdir's stages were trained with:
      "data", "sources" (code) or "teachers". The workdir records it.

  Returns:
    The content of results.json.

  Raises:
    UserError: the experiment cannot run, what a stage was trained with has
      changed, or another process uses the workdir; raised before anything is
      written.
    DivergedError: a loss is not finite; the last good checkpoint stays.
  """
  from kdjax import report

  with trained(config, workdir, stage=stage, quiet=quiet, accept=accept):
    if jax.process_index() == 0:
      return report.write(workdir, quiet=quiet)
  return {}


@contextlib.contextmanager
def trained(
  config: ConfigDict,
  workdir: str | pathlib.Path,
  *,
  stage: str | None = None,
  quiet: bool = False,
  accept: Sequence[str] = (),
  observe: Observe = unobserved,
  wait: float = 0.0,
) -> Iterator[None]:
  """Trains stages as `run` does, and holds the workdir without reporting.

  Args:
    config: as of `run`, and so the next three.
    workdir: for all files of the run.
    stage: the only one to train; None is all.
    quiet: whether no progress is shown.
    accept: what may differ.
    observe: of `Loop`, for every stage that is trained.
    wait: seconds to wait for another process that uses the workdir.
  """
  compilation_cache.enable()
  plain = workdirs.resolve(config)
  names = [stage] if stage else list(plain["order"])
  workdir = pathlib.Path(workdir)
  checkpoints.check_path(workdir)
  check.plan(plain, names)
  provenance_check.check_parts(accept)
  with lock.locked(workdir, wait):
    workdirs.check_config(workdir, plain)
    dependencies.check_history(plain, workdir, names, accept)
    provenance_check.check_trained(plain, workdir, names, accept)
    workdirs.write_config(workdir, plain, accept)
    quiet = quiet or jax.process_index() > 0
    for number, name in enumerate(names, 1):
      run_stage(
        plain, workdir, name, quiet=quiet, accept=accept, observe=observe
      )
      if number % KEPT == 0:
        # A stage's compiled programs take 25 MB and more. The next stages
        # share the smallest, so they are not freed after each.
        gc.collect()
        jax.clear_caches()
    yield


def run_stage(
  config: Mapping[str, Any],
  workdir: pathlib.Path,
  name: str,
  *,
  quiet: bool = False,
  accept: Sequence[str] = (),
  observe: Observe = unobserved,
) -> dict[str, Any]:
  """Trains one stage, unless it is finished.

  Args:
    config: of the experiment, as nested dicts.
    workdir: of the experiment.
    name: of the stage.
    quiet: whether no progress is shown.
    accept: parts of its provenance that may differ.
    observe: of `Loop`.

  Returns:
    The content of the stage's result.json.
  """
  result = workdirs.stage_result(workdir, name)
  # The teachers of this stage may have been trained since the run began.
  provenance_check.settle(config, workdir, name, accept)
  if result and _is_finished(result, config["stages"][name]):
    if not quiet:
      steps = result.get("stopped", {}).get("step", result["steps"])
      terminal.line(f"finished, {steps} steps", stage=name)
    return result
  teacher_steps = dependencies.finished_steps(config, workdir, name)
  load_fixed = functools.partial(
    initialization.load_fixed, config=config, workdir=workdir
  )
  with progress.waiting(f"{name}, data and networks", shown=not quiet):
    placed_stage = placed.place(config, name, load_fixed)
    stage, seeds = placed_stage.stage, placed.seeds_of(config)
    sentences = [] if quiet else initialization.check(config, stage)
    initial = initialization.initial_variables(config, stage, workdir, seeds)
    initial = grids.repeat_per_point(stage.config["grid"], initial)
  for sentence in sentences:
    terminal.line(sentence, stage=name)
  loop = Loop(placed_stage, workdir, initial, quiet=quiet, observe=observe)
  return loop.run(teacher_steps=teacher_steps)


def _is_finished(result: Mapping[str, Any], stage: Mapping[str, Any]) -> bool:
  """Whether a result is whole, and its best is of the metric to select."""
  selected = result["validation"]["best"]
  return records.is_of(result, stage) and stage["select"] in selected


def caches(
  config: ConfigDict,
  workdir: pathlib.Path,
  only: str | None = None,
  accept: Sequence[str] = (),
) -> Iterator[tuple[Stage, list[cache_plan.Plan]]]:
  """Lists the caches of teacher outputs that an experiment uses.

  Args:
    config: of the experiment.
    workdir: that holds the teachers' finished stages.
    only: name of the only stage to consider; None considers all.
    accept: parts of the teachers' provenance that may differ.

  Yields:
    A stage, and its caches.

  Raises:
    UserError: no teacher has a cache, or a teacher's stage is not trained.
  """
  compilation_cache.enable()
  plain = workdirs.resolve(config)
  names = [only] if only else list(plain["order"])
  check.plan(plain, names)
  load_fixed = functools.partial(
    initialization.load_fixed, config=plain, workdir=workdir
  )
  has_cache = False
  for name in names:
    teachers = build.stage_config(plain, name)["teachers"].items()
    cached = [key for key, teacher in teachers if teacher.get("cache")]
    if not cached:
      continue
    has_cache = True
    for source in dependencies.sources(plain["stages"][name]):
      provenance_check.check(plain, workdir, source, accept)
    placed_stage = placed.place(plain, name, load_fixed)
    stage, fixed = placed_stage.stage, placed_stage.fixed
    orders = stage.train_feeds(placed_stage.seeds)
    plans = [
      plan
      for key in cached
      for plan in cache_plan.plan(stage, workdir, key, orders, fixed)
    ]
    yield stage, list({plan.path: plan for plan in plans}.values())
  if not has_cache:
    raise UserError(
      f"No teacher of {', '.join(names)} has a cache.",
      'Set one in the config: teacher("large", cache="auto").',
    )
