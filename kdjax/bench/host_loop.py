"""The parts of a run's loop that take time between two steps."""

import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax

from kdjax.bench.runner import Runner, seconds_per_call
from kdjax.bench.trainer import ENDLESS, Trainer
from kdjax.devices import multistep
from kdjax.training.step_metrics import by_step, means_of


def dispatch_seconds(runner: Runner, seconds: float) -> float:
  """Seconds until a step's call returns while the device is idle.

  Args:
    runner: of the steps.
    seconds: how long to measure.
  """
  jax.block_until_ready(runner.step())
  spent, count, start = 0.0, 0, time.perf_counter()
  while not count or time.perf_counter() - start < seconds:
    called = time.perf_counter()
    metrics = runner.step()
    spent += time.perf_counter() - called
    count += 1
    jax.block_until_ready(metrics)
  return spent / count


class LoopCalls:
  """Steps on a feed as a run's loop calls them, several steps per call.

  Args:
    trainer: the stage.
    feed: of its batches.
    count: steps per call.
  """

  def __init__(self, trainer: Trainer, feed: Any, count: int):
    self.trainer, self.count = trainer, count
    step, roles = feed.over(trainer.train_step), feed.roles
    if count > 1:
      step, roles = multistep.many(step, roles), ((roles,) * count,)
    self.program = trainer.placement.compile(
      step, ("state", "fixed", *roles), donate=True
    )
    self.batches = feed.batches(0, ENDLESS)
    self.calls: Iterator[tuple] = multistep.grouped(self.batches, count)
    self.pending: list[Any] = []

  def close(self) -> None:
    """Ends the feed."""
    if hasattr(self.batches, "close"):
      self.batches.close()

  def measurement(self, *, recorded: bool) -> Callable[[float], float]:
    """Compiles the call; returns a function that measures it.

    Args:
      recorded: whether to include fetching the metrics that the loop records.

    Returns:
      (seconds to measure for) -> seconds per step.
    """
    log_every = self.trainer.stage.config["log_every"]
    counter = itertools.count(1)

    def call():
      batches = next(self.calls)
      arguments = batches[0] if len(batches) == 1 else (batches,)
      metrics = self.trainer.advance(self.program, *arguments)
      self.pending.append(metrics)
      if not recorded or not log_every:
        self.pending.clear()
      elif next(counter) * self.count % log_every == 0:
        fetch = self.trainer.placement.fetch
        means_of(by_step([fetch(it) for it in self.pending]))
        self.pending.clear()
      return metrics

    jax.block_until_ready(call())
    pending = max(self.trainer.max_pending // self.count, 1)
    return lambda seconds: (
      seconds_per_call(call, seconds, max_pending=pending) / self.count
    )
