"""A sweep: trials until there are enough, then the winner on fresh seeds."""

import json
import math
import pathlib
import shutil
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from kdjax.config import choices
from kdjax.config.fields import ConfigDict
from kdjax.errors import UserError
from kdjax.sweep import candidates, plans, programs
from kdjax.sweep.candidates import Candidates
from kdjax.sweep.study import Study
from kdjax.training import faults

# Seconds between two looks at the trials of other processes.
LOOK = 1.0

Say = Callable[[str], None]


class Options(NamedTuple):
  """How a sweep searches.

  Attributes:
    trials: to be finished.
    sampler: "tpe", "random" or "grid".
    pruner: "hyperband" or "none".
    points: of a grid, per key.
    at_once: trials that one process takes at a time: those that differ in
      numbers alone run in one program.
    seed: the first of the sweep's own seeds.
    seeds: how many of them; a trial is their mean.
  """

  trials: int = 50
  sampler: str = "tpe"
  pruner: str = "hyperband"
  points: int = 4
  at_once: int = 4
  seed: int = 1000
  seeds: int = 2


class Pruned(Exception):  # noqa: N818 - no error: it ends a training
  """All trials of a program are pruned."""


class Sweep:
  """A sweep in a folder.

  Args:
    candidate: the experiment and its space.
    given: the experiment's config, with its flags.
    workdir: for all files of the sweep.
    options: how it searches.
    say: is called with a sentence for every trial.

  Raises:
    UserError: an option does not fit, or the folder holds another sweep.
  """

  def __init__(
    self,
    candidate: Candidates,
    given: ConfigDict,
    workdir: str | pathlib.Path,
    options: Options,
    say: Say,
  ):
    check(options, given)
    self.candidate, self.given, self.options = candidate, given, options
    self.folder, self.say = pathlib.Path(workdir).resolve(), say
    self.stage = candidate.stage
    self.spec = given.stages[self.stage]
    self.study = Study(self.folder, self._plan())

  def run(self) -> None:
    """Runs trials until enough are finished, by this process or others."""
    with self.study.working():
      while self.study.finished() < self.options.trials:
        trials = self.study.take(self.options.at_once)
        if trials:
          self._run(trials)
        else:
          time.sleep(LOOK)  # others run the last ones

  def config(self, values: dict[str, Any]) -> ConfigDict:
    """The stage and its sources on the sweep's own seeds, without test."""
    return candidates.alone(
      self.candidate.config(values),
      self.stage,
      seed=self.options.seed,
      seeds=self.options.seeds,
      test=False,
    )

  def _run(self, trials: Sequence[Any]) -> None:
    """Trains trials, and tells the study of each."""
    configs = [self.config(trial.params) for trial in trials]
    for program in programs.grouped(configs, self.stage):
      of_program = [trials[place] for place in program.trials]
      try:
        self._train(program, of_program)
      except faults.DivergedError as error:
        if len(of_program) == 1:
          self.study.prune(of_program[0], diverged=f"{error}")
          self._say(of_program[0], None, "diverged")
        else:  # which of them it was
          for trial in of_program:
            self._run([trial])

  def _train(self, program: programs.Program, trials: Sequence[Any]) -> None:
    """Trains one program; it ends early if all its trials are pruned."""
    watch = Watch(trials, self.spec, self.options.seeds, self.study)
    root = self.folder / "stages"
    try:
      folder = programs.train(program.config, self.stage, root, watch.observe)
    except Pruned:
      for trial in trials:
        self.study.prune(trial)
        self._say(trial, watch.value(trial), "pruned")
      return
    result = programs.finished(folder, self.stage, program.config)
    # No stage learns from a trial: its networks are not needed again.
    made = folder / "stages" / self.stage
    shutil.rmtree(made / "checkpoints", ignore_errors=True)
    assert result is not None, "a stage that was trained has a result"
    for trial, value in zip(trials, programs.values(result), strict=True):
      if math.isfinite(value):
        self.study.complete(trial, value)
        self._say(trial, value, "")
      else:
        self.study.prune(trial, diverged="its metric is not finite")
        self._say(trial, None, "not finite")

  def _plan(self) -> plans.Plan:
    """The plan of the study."""
    options, spec = self.options, self.spec
    every = spec.eval_every or spec.steps
    space = {
      key: candidates.described(values)
      for key, values in self.candidate.space.items()
    }
    default = json.loads(self.config({}).to_json_best_effort())
    return plans.Plan(
      space=self.candidate.space,
      default=self.candidate.default,
      mode=spec.select_mode,
      evaluations=-(-spec.steps // every),
      trials=options.trials,
      sampler=options.sampler,
      pruner=options.pruner,
      points=options.points,
      seed=options.seed,
      facts={
        "space": space,
        "stage": self.stage,
        "sampler": options.sampler,
        "pruner": options.pruner,
        "config": {
          key: default[key] for key in ("seed", "seeds", "data", "stages")
        },
      },
    )

  def _say(self, trial: Any, value: float | None, note: str) -> None:
    finished = self.study.finished()
    shown = "" if value is None else f"{self.spec.select} {value:.4f}"
    values = " ".join(
      f"{key.removeprefix('terms.')}={text(value_)}"
      for key, value_ in trial.params.items()
    )
    words = [it for it in (shown, note) if it]
    self.say(
      f"trial {trial.number} ({finished} of {self.options.trials} finished):"
      f" {', '.join(words)}; {values}"
    )


class Watch:
  """Reports a program's evaluations to the study; ends it if all are pruned.

  A trial alone cannot leave its program, and what runs on is worth its value:
  a program ends once every trial of it was to be pruned at some evaluation.

  Args:
    trials: of the program's points.
    spec: of the stage.
    seeds: of each point.
    of: the study.
  """

  def __init__(self, trials: Sequence[Any], spec: Any, seeds: int, of: Study):
    self.trials, self.seeds, self.study = list(trials), seeds, of
    self.sign = 1 if spec.select_mode == "max" else -1
    self.every, self.last = spec.eval_every or spec.steps, spec.steps
    self.best = [-math.inf] * (len(trials) * seeds)
    self.to_prune: set[int] = set()

  def observe(self, step: int, values: list[float]) -> None:
    """Takes the values of an evaluation, one of every seed and point.

    Raises:
      Pruned: every trial of the program was to be pruned.
    """
    for place, value in enumerate(values):
      if math.isfinite(value):
        self.best[place] = max(self.best[place], self.sign * value)
    for trial in self.trials:
      value = self.value(trial)
      if value is None:
        continue
      trial.report(value, -(-step // self.every))
      if trial.should_prune():
        self.to_prune.add(trial.number)
    if len(self.to_prune) == len(self.trials) and step < self.last:
      raise Pruned

  def value(self, trial: Any) -> float | None:
    """The mean over seeds of the best so far; None before the first."""
    points, place = len(self.trials), self.trials.index(trial)
    best = self.best[place::points]
    return (
      self.sign * choices.mean(best) if all(map(math.isfinite, best)) else None
    )


def check(options: Options, given: ConfigDict) -> None:
  """Raises `UserError` for options that do not fit."""
  for name, known in (("sampler", plans.SAMPLERS), ("pruner", plans.PRUNERS)):
    if getattr(options, name) not in known:
      value = getattr(options, name)
      raise UserError(f"--{name}={value}.", exists=known, near=value)
  least = {"trials": 1, "points": 2, "at_once": 1, "seeds": 1, "seed": 0}
  for name, value in least.items():
    if getattr(options, name) < value:
      raise UserError(
        f"--{name}={getattr(options, name)}.", f"Expected at least {value}."
      )
  own = range(options.seed, options.seed + options.seeds)
  fresh = range(given.seed, given.seed + given.seeds)
  if max(own[0], fresh[0]) <= min(own[-1], fresh[-1]):
    raise UserError(
      f"The sweep's seeds {own[0]} to {own[-1]} are among the config's,"
      f" {fresh[0]} to {fresh[-1]}, which the winner is measured on.",
      "Choose others: --seed=1000, or --config.seed.",
    )


def text(value: Any) -> str:
  """A value of a space, in few characters."""
  return f"{value:.4g}" if isinstance(value, float) else str(value)
