"""Times the steps of a trainer on a feed, or any other function."""

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from kdjax.bench.timing import quartiles
from kdjax.bench.trainer import ENDLESS, MAX_PENDING, Trainer
from kdjax.feed import loaders


class RepeatedBatch:
  """A feed that repeats one batch on the devices.

  Args:
    batch: from `Trainer.first_batch`.
  """

  roles = ("batch",)

  def __init__(self, batch: Any):
    self.batch = batch

  def over(self, step: Callable) -> Callable:
    """The unchanged step."""
    return step

  def batches(self, start: int, stop: int) -> Iterator[tuple[Any]]:
    """The batch, for each step."""
    return itertools.repeat((self.batch,), stop - start)


class Runner:
  """Times the step of a trainer on a feed, and the feed alone.

  Args:
    trainer: the stage.
    make_feed: returns the feed; None repeats `batch`.
    batch: on the devices.

  Attributes:
    start: seconds until the first batch.
    batch: the first batch, on the devices.
    prefetched: how many batches may be ready before a measurement starts.
  """

  def __init__(
    self,
    trainer: Trainer,
    make_feed: Callable[[], Any] | None,
    batch: Any = None,
  ):
    started = time.perf_counter()
    feed = make_feed() if make_feed else None
    self.trainer = trainer
    self.train, self.put = trainer.compiled(feed)
    if feed is None:
      self.batches = itertools.repeat((batch,))
    else:
      self.batches = feed.batches(0, ENDLESS)
      first = next(self.batches)
      self.start = time.perf_counter() - started
      batch = self.put(trainer.state, trainer.fixed, *first)
    self.batch = batch
    data_feed = getattr(feed, "feed", feed)  # without the teacher outputs
    streams = isinstance(data_feed, loaders.Stream)
    self.prefetched = (
      2 * loaders.AHEAD * max(data_feed.workers, 1) if streams else 1
    )
    self.step()  # compiles

  def close(self) -> None:
    """Ends the feed."""
    if hasattr(self.batches, "close"):
      self.batches.close()

  def step_seconds(self, seconds: float) -> float:
    """Seconds per training step, measured for some seconds."""
    return seconds_per_call(
      self.step, seconds, self.prefetched, self.trainer.max_pending
    )

  def batch_seconds(self, seconds: float) -> float:
    """Seconds per batch that is put on the devices without a step."""
    return seconds_per_call(
      self._put_next, seconds, self.prefetched, self.trainer.max_pending
    )

  def step(self) -> Any:
    """Runs a step on the next batch and returns its metrics."""
    return self.trainer.advance(self.train, *next(self.batches))

  def _put_next(self) -> Any:
    trainer = self.trainer
    return self.put(trainer.state, trainer.fixed, *next(self.batches))


def seconds_per_call(
  function: Callable[[], Any],
  seconds: float,
  warm_up: int = 1,
  max_pending: int = MAX_PENDING,
) -> float:
  """Seconds per call of a function, called repeatedly.

  Args:
    function: returns arrays, which may not be computed yet.
    seconds: how long to measure, approximately; at least one call.
    warm_up: how many calls to make before.
    max_pending: after how many calls to wait for their arrays.
  """
  arrays = None
  for _ in range(warm_up):
    arrays = function()
  jax.block_until_ready(arrays)
  start = time.perf_counter()
  jax.block_until_ready(function())
  # The number of calls is fixed before: calls return before they are computed.
  count = max(round(seconds / (time.perf_counter() - start)), 1)
  start = time.perf_counter()
  for done in range(1, count + 1):
    arrays = function()
    if done % max_pending == 0:
      jax.block_until_ready(arrays)
  jax.block_until_ready(arrays)
  return (time.perf_counter() - start) / count


def milliseconds(seconds: Sequence[float]) -> dict[str, float]:
  """Seconds of all rounds as `quartiles` in milliseconds."""
  return quartiles(np.array(seconds) * 1e3)
