"""The one loop: a stage from its first step, or its last checkpoint, on."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from kdjax.config import strict_json
from kdjax.devices import multistep
from kdjax.devices.placement import Placement
from kdjax.errors import UserError
from kdjax.feed import loaders
from kdjax.stage import grids
from kdjax.stage.stage import Stage
from kdjax.step import state as states
from kdjax.step.state import Fixed, State
from kdjax.teachers import outputs
from kdjax.training import evaluation
from kdjax.training import results as outcome
from kdjax.training.checkpoints import Checkpoints, unflatten
from kdjax.training.metrics_log import (
  Journal,
  Silence,
  by_step,
  means_of,
  replace,
)
from kdjax.training.progress import Clock, Progress
from kdjax.training.results import DivergedError
from kdjax.training.termination import Termination


class Loop:
  """Trains a stage on all seeds.

  Args:
    stage: built with the placement's axis name.
    placement: where it runs.
    workdir: of the experiment.
    seeds: the seeds of the run, each once for every point of a grid.
    fixed: what the steps of each of them read.
    given: for each, network -> variables to start from.
    quiet: whether no progress is shown.
  """

  def __init__(
    self,
    stage: Stage,
    placement: Placement,
    workdir: pathlib.Path,
    seeds: Sequence[int],
    fixed: Sequence[Fixed],
    given: Sequence[Mapping[str, Any]],
    *,
    quiet: bool = False,
  ):
    self.stage, self.placement, self.config = stage, placement, stage.config
    self.workdir, self.seeds, self.quiet = workdir, list(seeds), quiet
    self.folder = workdir / "stages" / stage.name
    self.starts = fixed, given
    self.fixed = placement.put_fixed(fixed)
    self.broken: list[str] = []  # records that were skipped before
    orders = stage.train_feeds(self.seeds)
    self.sources = [order.source for order in orders]
    feed = loaders.make(self.config["data"], placement, orders, stage.spec)
    self.feed, train_step = outputs.supplied(
      stage, placement, workdir, feed, orders, (fixed, self.fixed), quiet=quiet
    )
    self.train_step = self.feed.over(train_step)
    split = stage.measured_on("validation", self.seeds)
    self.sources += split
    self.validation = evaluation.Split(stage, placement, split, self.fixed)
    maximise = stage.maximise
    self.keep_best = placement.compile(
      lambda state, value: states.keep_best(state, value, maximise=maximise),
      ("state", "state"),
      donate=True,
    )
    self.pending: list[Any] = []  # metrics of the steps since the last record
    self.clock = Clock(self.config["batch_size"] * len(self.seeds))
    self.journal: Journal | Silence = Silence()

  def run(self, *, taught: Mapping[str, int]) -> dict[str, Any]:
    """Trains to the last step and returns the stage's result.

    Args:
      taught: the stages of the teachers, and their steps.

    Raises:
      DivergedError: a loss or gradient is not finite; the last good
        checkpoint stays.
    """
    with (
      Termination() as termination,
      Checkpoints(self.folder / "checkpoints", write=True) as checkpoints,
    ):
      self.checkpoints = checkpoints
      start, steps = checkpoints.latest() or 0, self.config["steps"]
      progress = Progress(self.stage.name, steps, start, quiet=self.quiet)
      try:
        self._compile(start)
        state = self._start(start, taught)
        step = start
        batches = self.feed.batches(start, steps)
        for call in multistep.grouped(batches, self.steps_per_call):
          state = self._train(state, call)
          step += len(call)
          last = step == steps
          record, save = self._due("log", step), self._due("save", step)
          if record or save or last:
            loss = self._record(step, state)
            progress.update(step, loss, self.clock.lap(step))
          with self.clock.paused():
            if self._due("eval", step) or last:
              state = self._validate(step, state)
            stop = record and termination.asked()
            if save or last or stop:
              self._save(step, state, taught)
            if stop:
              progress.say(f"SIGTERM: saved at step {step}")
              raise SystemExit(Termination.STATUS)
      finally:
        progress.close()
        self.journal.close()
    result = self._finish(state, taught)
    if jax.process_count() > 1:
      # The next stage reads what the first process has written.
      multihost_utils.sync_global_devices(f"finished {self.stage.name}")
    return result

  def _start(self, start: int, taught: Mapping[str, int]) -> list[State]:
    """The state to go on from, placed."""
    fixed, given = self.starts
    init = jax.jit(self.stage.init)
    if not start:
      state = [
        init(seed, one, own)
        for seed, one, own in zip(self.seeds, fixed, given, strict=True)
      ]
    else:
      if start > self.config["steps"]:
        raise UserError(
          f"The checkpoint of '{self.stage.name}' is of step {start}.",
          f"It cannot end at step {self.config['steps']}.",
        )
      shapes = jax.eval_shape(init, 0, fixed[0], given[0])
      stored, folder = self.checkpoints.read(), self.checkpoints.folder
      state = unflatten(shapes, stored, len(self.seeds), folder)
      facts = self.checkpoints.facts()
      if facts["teachers"] != dict(taught):
        raise UserError(
          f"'{self.stage.name}' has learned for {start} steps from "
          f"{facts['teachers']} (stage: steps), which are {dict(taught)} now.",
          f"To train it anew, delete {self.folder}.",
        )
      self.clock.resume(facts["seconds"])
      self.broken = facts["broken"]
    if jax.process_index() == 0:
      self.journal = Journal(self.workdir, self.stage.name, self.seeds, start)
    return self.placement.put(state)

  def _compile(self, start: int) -> None:
    """Compiles the steps of a call, in which nothing is due before its end."""
    count = multistep.steps_per_call(self.config, start, jax.default_backend())
    step, roles = self.train_step, self.feed.roles
    self.steps_per_call = count
    if count > 1:
      step, roles = multistep.many(step, roles), ((roles,) * count,)
    self.train_steps = self.placement.compile(
      step, ("state", "fixed", *roles), donate=True
    )

  def _train(self, state: list[State], batches: tuple) -> list[State]:
    """The steps of a call, of all seeds; nothing waits for them."""
    arguments = batches[0] if len(batches) == 1 else (batches,)
    done = self.train_steps(state, self.fixed, *arguments)
    self.pending.append([metrics for _, metrics in done])
    return [new for new, _ in done]

  def _due(self, what: str, step: int) -> bool:
    every = self.config[f"{what}_every"]
    return every > 0 and step % every == 0

  def _record(self, step: int, state: list[State]) -> float:
    """Writes the means since the last record; returns the seeds' mean loss."""
    recorded = [self.placement.fetch(metrics) for metrics in self.pending]
    self.pending = []
    self._check(state)
    named = by_step(recorded)
    for name, means in means_of(named).items():
      self.journal.write(step, f"train/{name}", means)
    return float(np.mean(named["loss"][-1]))

  def _check(self, state: list[State]) -> None:
    """Raises `DivergedError` for the first fault that a seed's state holds."""
    faults = self.placement.fetch([group.fault for group in state])
    found = [
      (int(fault.step), seed, fault.terms)
      for seed, fault in zip(self.seeds, faults, strict=True)
      if fault.step >= 0
    ]
    if not found:
      return
    step, seed, values = min(found, key=lambda fault: fault[:2])
    terms = ", ".join(f"{name} {value}" for name, value in values.items())
    self.checkpoints.wait()
    last = self.checkpoints.latest()
    kept = (
      f"The last good checkpoint of step {last} stays."
      if last
      else "No checkpoint was written yet."
    )
    raise DivergedError(
      f"Stage '{self.stage.name}': the loss or its gradient is not finite at "
      f"step {step} of seed {seed}. Terms there: {terms}.",
      f"{kept} A lower learning rate, a smaller "
      "weight or optimizer.clip_norm may help, in another workdir.",
    )

  def _validate(self, step: int, state: list[State]) -> list[State]:
    """Measures on validation and keeps the best variables of each seed."""
    variables = [states.evaluated(group) for group in state]
    results = self.validation.measure(variables, self.fixed)
    plain = self.stage.weights(step - 1)
    weights = grids.weights(self.config["grid"], plain, len(results))
    for name, values in evaluation.by_metric(results).items():
      self.journal.write(step, f"validation/{name}", values)
    losses = [
      sum(weight * one[f"loss/{name}"] for name, weight in own.items())
      for own, one in zip(weights, results, strict=True)
    ]
    self.journal.write(step, "validation/loss", losses)
    chosen = [np.float32(one[self.config["select"]]) for one in results]
    return self.keep_best(state, self.placement.put(chosen))

  def _save(
    self, step: int, state: list[State], taught: Mapping[str, int]
  ) -> None:
    """Saves; what was recorded up to here is on disk before."""
    self.journal.flush()
    facts = {
      "seconds": self.clock.total(),
      "teachers": dict(taught),
      "broken": self._broken(),
    }
    self.checkpoints.save(step, self.placement.fetch(state), facts)

  def _finish(
    self, state: list[State], taught: Mapping[str, int]
  ) -> dict[str, Any]:
    """Measures on test and writes the stage's result."""
    seeds = list(dict.fromkeys(self.seeds))
    test = self.stage.measured_on("test", self.seeds)
    self.sources += test
    facts = {
      "stage": self.stage.name,
      "steps": self.config["steps"],
      "seeds": seeds,
      "teachers": dict(taught),
    }
    finished = outcome.Finished(self.stage, self.placement, seeds, test, state)
    found = finished.measured(self.fixed)
    speed = {
      "examples_per_second": self.clock.rate,
      "seconds": self.clock.total(),
      "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
    }
    result = {**facts, **found, "broken": self._broken(), **speed}
    if jax.process_index() == 0:
      if self.config["predictions"]:
        finished.predict(self.starts[0], self.folder)
      text = strict_json.dumps(result, indent=2)
      replace(self.folder / "result.json", text + "\n")
    return result

  def _broken(self) -> list[str]:
    """The records that were skipped: file, line, column and reason of each."""
    found = [
      str(fault)
      for source in self.sources
      for fault in getattr(source, "records", list)()
    ]
    return list(dict.fromkeys([*self.broken, *found]))
