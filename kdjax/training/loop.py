"""The training loop: a stage from its first step or last checkpoint on."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from kdjax.devices import multistep
from kdjax.feed import loaders
from kdjax.stage import grids
from kdjax.step import state as states
from kdjax.step import uncertainty
from kdjax.step.state import State
from kdjax.teachers import outputs
from kdjax.training import continued, diagnosis, evaluation, faults, patience
from kdjax.training.checkpoints import Checkpoints, unflatten
from kdjax.training.idle_terms import IdleTerms
from kdjax.training.metrics_log import MetricsLog, NoLog, of_stage
from kdjax.training.placed import PlacedStage
from kdjax.training.progress import Clock, Observe, Progress, unobserved
from kdjax.training.results import TrainedStage, broken
from kdjax.training.step_metrics import StepMetrics, means_of
from kdjax.training.termination import Termination


class Loop:
  """Trains a stage on all seeds.

  Args:
    placed: the stage on its devices.
    workdir: of the experiment.
    initial: for each state, {"networks": .., "heads": ..}: variables to start
      from.
    quiet: whether no progress is shown.
    observe: is called with the metric `select` of every evaluation.
  """

  def __init__(
    self,
    placed: PlacedStage,
    workdir: pathlib.Path,
    initial: Sequence[Mapping[str, Any]],
    *,
    quiet: bool = False,
    observe: Observe = unobserved,
  ):
    stage, placement = placed.stage, placed.placement
    self.stage, self.placement, self.config = stage, placement, stage.config
    self.workdir, self.seeds = workdir, placed.seeds
    self.quiet, self.observe = quiet, observe
    self.folder = workdir / "stages" / stage.name
    self.host_fixed, self.initial = placed.fixed, initial
    self.fixed = placement.put_fixed(placed.fixed)
    self.broken: list[str] = []  # records that an earlier run skipped
    orders = stage.train_feeds(self.seeds)
    self.sources = [order.source for order in orders]
    self.diagnosis = diagnosis.FirstStep(placed, orders, initial)
    feed = loaders.make(self.config["data"], placement, orders, stage.spec)
    fixed = placed.fixed, self.fixed
    self.feed, train_step = outputs.feed_and_train_step(
      stage, placement, workdir, feed, orders, fixed, quiet=quiet
    )
    self.train_step = self.feed.over(train_step)
    split = stage.load_for_evaluation("validation", self.seeds)
    self.sources += split
    self.validation = evaluation.SplitEvaluator(
      stage, placement, split, self.fixed
    )
    maximise = stage.maximise
    self.keep_best = placement.compile(
      lambda state, value: states.keep_best(state, value, maximise=maximise),
      ("state", "state"),
      donate=True,
    )
    self.metrics = StepMetrics(placement)
    self.idle = IdleTerms(stage, self.seeds, len(orders[0].source))
    self.clock = Clock(self.config["batch_size"] * len(self.seeds))
    self.log: MetricsLog | NoLog = NoLog()
    self.selected = False  # whether the metric `select` was a number before

  def run(self, *, teacher_steps: Mapping[str, int]) -> dict[str, Any]:
    """Trains to the last step and returns the stage's result.

    Args:
      teacher_steps: the stages that this stage uses, and their steps.

    Raises:
      DivergedError: a loss or gradient is not finite; the last good
        checkpoint stays.
    """
    with (
      Termination() as termination,
      Checkpoints(self.folder / "checkpoints", write=True) as checkpoints,
    ):
      self.checkpoints = checkpoints
      restored = checkpoints.newest()
      start, steps = restored[0] if restored else 0, self.config["steps"]
      progress = Progress(self.stage.name, steps, start, quiet=self.quiet)
      try:
        self._compile(start)
        state = self._start(restored, teacher_steps, progress)
        step, state = self._steps(
          start, state, teacher_steps, termination, progress
        )
        if termination.received:
          termination.leave(step, progress.print_line)
        if start == steps and not self.selected:
          # Trained before; only the metric that selects is another one.
          state = self._validate(step, state)
          self._save(step, state, teacher_steps)
        if step < steps:
          progress.print_line(patience.sentence(self.config, step))
      finally:
        progress.close()
        self.log.close()
    result = self._finish(step, state, teacher_steps)
    if jax.process_count() > 1:
      # The next stage reads files that the first process has written.
      multihost_utils.sync_global_devices(f"finished {self.stage.name}")
    return result

  def _steps(
    self,
    start: int,
    state: list[State],
    teacher_steps: Mapping[str, int],
    termination: Termination,
    progress: Progress,
  ) -> tuple[int, list[State]]:
    """Trains to the last step, or to an early stop; returns step and state."""
    step, steps = start, self.config["steps"]
    over = self._is_over(start, state)
    batches = self.feed.batches(start, start if over else steps)
    for call in multistep.grouped(batches, self.steps_per_call):
      state = self._train(state, call)
      step += len(call)
      last = step == steps
      record, save = self._due("log", step), self._due("save", step)
      if record or save or last:
        loss = self._record(step, state)
        progress.update(step, loss, self.clock.lap(step))
      with self.clock.paused():
        stop = termination.requested(step, record)
        if stop:
          self._check(state)
        if self._due("eval", step) or last:
          state = self._validate(step, state)
          over = self._is_over(step, state)
        if over and not (record or save):
          self._record(step, state)
        if save or last or stop or over:
          self._save(step, state, teacher_steps)
        if stop:
          self.checkpoints.wait()
          termination.leave(step, progress.print_line)
      if over:
        break
    return step, state

  def _start(
    self,
    restored: tuple[int, dict, dict] | None,
    teacher_steps: Mapping[str, int],
    progress: Progress,
  ) -> list[State]:
    """The state to start or continue from, placed."""
    init = jax.jit(self.stage.init)
    start = 0
    if not restored:
      arguments = self.seeds, self.host_fixed, self.initial
      state = [init(*of_seed) for of_seed in zip(*arguments, strict=True)]
    else:
      start, stored, facts = restored
      continued.check_steps(self.stage, start)
      shapes = jax.eval_shape(init, 0, self.host_fixed[0], self.initial[0])
      folder = self.checkpoints.folder
      state = unflatten(shapes, stored, len(self.seeds), folder)
      self.clock.resume(facts["seconds"])
      self.broken = facts["broken"]
      self.metrics.restore(facts.get("pending", {}))
      self.selected = all(of_seed.best.step > 0 for of_seed in state)
      state, kept = continued.with_changes(
        self.stage, start, state, facts, progress.print_line
      )
      self.selected &= kept
    if jax.process_index() == 0:
      self.log = of_stage(self.stage, self.workdir, self.seeds, start)
    return self.placement.put(state)

  def _compile(self, start: int) -> None:
    """Compiles as many steps as run in one call."""
    count = multistep.steps_per_call(self.config, start, jax.default_backend())
    step, roles = self.train_step, self.feed.roles
    self.steps_per_call = count
    if count > 1:
      step, roles = multistep.many(step, roles), ((roles,) * count,)
    self.train_steps = self.placement.compile(
      step, ("state", "fixed", *roles), donate=True
    )

  def _train(self, state: list[State], batches: tuple) -> list[State]:
    """Starts the steps of one call for all seeds, without waiting."""
    arguments = batches[0] if len(batches) == 1 else (batches,)
    done = self.train_steps(state, self.fixed, *arguments)
    self.metrics.add([metrics for _, metrics in done])
    return [new for new, _ in done]

  def _due(self, action: str, step: int) -> bool:
    every = self.config[f"{action}_every"]
    return every > 0 and step % every == 0

  def _record(self, step: int, state: list[State]) -> float:
    """Logs means since the last record; returns the seeds' mean loss."""
    self._check(state)
    named = self.metrics.fetch()
    self.metrics.clear()
    for name, means in means_of(named).items():
      self.log.write(step, f"train/{name}", means)
    rates = grids.learning_rates(self.config, step - 1, self.host_fixed)
    self.log.write(step, "train/learning_rate", rates)
    self.idle.add(step, named)
    return float(np.mean(named["loss"][-1]))

  def _check(self, state: list[State]) -> None:
    """Raises `DivergedError` for the first fault in a seed's state."""
    found = self.placement.fetch([group.fault for group in state])
    explain = self.diagnosis.explain
    faults.check(self.stage.name, self.seeds, found, self.checkpoints, explain)

  def _validate(self, step: int, state: list[State]) -> list[State]:
    """Evaluates on validation and keeps the best variables of each seed."""
    variables = [states.evaluated(group) for group in state]
    measured = self.validation.measure(variables, self.fixed)
    for name, values in evaluation.by_metric(measured).items():
      self.log.write(step, f"validation/{name}", values)
    learned = self.placement.fetch(
      [uncertainty.log_variances(it["heads"]) for it in variables]
    )
    losses = evaluation.losses(self.stage, step, measured, learned)
    self.log.write(step, "validation/loss", losses)
    select = self.config["select"]
    values = [np.float32(metrics[select]) for metrics in measured]
    if not self.selected:
      self.log.flush()
      faults.check_selection(self.stage, step, self.seeds, measured)
    self.selected = True
    self.observe(step, list(map(float, values)))
    return self.keep_best(state, self.placement.put(values))

  def _save(
    self, step: int, state: list[State], teacher_steps: Mapping[str, int]
  ) -> None:
    """Saves a checkpoint, after all records up to here are on disk."""
    self.log.flush()
    # A result of fewer steps is not that of the checkpoint.
    if jax.process_index() == 0:
      (self.folder / "result.json").unlink(missing_ok=True)
    facts = {
      "seconds": self.clock.total(),
      "steps": self.config["steps"],
      "select": [self.config["select"], self.config["select_mode"]],
      "teachers": dict(teacher_steps),
      "broken": broken(self.sources, self.broken),
      # Of steps without a record, if the run is stopped after them.
      "pending": self.metrics.saved(),
    }
    self.checkpoints.save(step, self.placement.fetch(state), facts)

  def _is_over(self, step: int, state: list[State]) -> bool:
    """Whether the stage stops early, after an evaluation."""
    best = self.placement.fetch([group.best.step for group in state])
    return patience.is_over(self.config, step, best)

  def _finish(
    self, step: int, state: list[State], teacher_steps: Mapping[str, int]
  ) -> dict[str, Any]:
    """Evaluates on test and writes the stage's result, after a last step."""
    seeds = list(dict.fromkeys(self.seeds))
    load, tested = self.stage.load_for_evaluation, "test" in self.stage.splits
    test = load("test", self.seeds) if tested else []
    self.sources += test
    trained = TrainedStage(self.stage, self.placement, seeds, test, state)
    result = {
      "stage": self.stage.name,
      "steps": self.config["steps"],
      **patience.facts(self.config, step),
      "seeds": seeds,
      "teachers": dict(teacher_steps),
      **trained.measure(self.fixed, quiet=self.quiet),
      "variables": trained.variables_hash(),
      "broken": broken(self.sources, self.broken),
      **self.clock.facts(),
      "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
    }
    if jax.process_index() == 0:
      trained.write(result, self.host_fixed, self.folder)
    return result
