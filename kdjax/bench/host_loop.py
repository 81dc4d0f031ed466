"""The loop of a run, as far as it costs time between two steps."""

import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax

from kdjax.bench.runner import Runner, timed
from kdjax.bench.trainer import ENDLESS, Trainer
from kdjax.devices import multistep
from kdjax.training.metrics_log import by_step, means_of


def returned(runner: Runner, seconds: float) -> float:
  """Seconds until a step's call returns, where nothing else is under way.

  Args:
    runner: of the steps.
    seconds: how long.
  """
  jax.block_until_ready(runner.step())
  spent, count, start = 0.0, 0, time.perf_counter()
  while not count or time.perf_counter() - start < seconds:
    began = time.perf_counter()
    made = runner.step()
    spent += time.perf_counter() - began
    count += 1
    jax.block_until_ready(made)
  return spent / count


class Calls:
  """Steps on a feed, as many a call as the loop makes, and what it records.

  Args:
    trainer: the stage.
    feed: of its batches.
    count: steps of a call.
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

  def seconds_of(self, *, recorded: bool) -> Callable[[float], float]:
    """Measures a step, and where asked what the loop's records take."""
    every = self.trainer.stage.config["log_every"]
    counter = itertools.count(1)

    def work():
      batches = next(self.calls)
      arguments = batches[0] if len(batches) == 1 else (batches,)
      made = self.trainer.advance(self.program, *arguments)
      self.pending.append(made)
      if not recorded or not every:
        self.pending.clear()
      elif next(counter) * self.count % every == 0:
        fetch = self.trainer.placement.fetch
        means_of(by_step([fetch(metrics) for metrics in self.pending]))
        self.pending.clear()
      return made

    jax.block_until_ready(work())
    unawaited = max(self.trainer.unawaited // self.count, 1)
    return lambda seconds: (
      timed(work, seconds, unawaited=unawaited) / self.count
    )
