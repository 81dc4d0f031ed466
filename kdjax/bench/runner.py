"""Work that is timed: a trainer's steps on a feed, or anything else."""

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from kdjax.bench.timing import spread
from kdjax.bench.trainer import ENDLESS, UNAWAITED, Trainer
from kdjax.feed import loaders


class Same:
  """A feed of one batch that is in place, again and again.

  Args:
    batch: as `Trainer.first` gives it.
  """

  roles = ("batch",)

  def __init__(self, batch: Any):
    self.batch = batch

  def over(self, step: Callable) -> Callable:
    """The step, as it is."""
    return step

  def batches(self, start: int, stop: int) -> Iterator[tuple[Any]]:
    """The batch, for each step."""
    return itertools.repeat((self.batch,), stop - start)


class Runner:
  """A feed that is timed: with a step, and alone.

  Args:
    trainer: the stage.
    make: makes the feed; None is one batch, again and again.
    held: that batch, in place.

  Attributes:
    start: the seconds to its first batch.
    held: that batch, in place.
    ahead: batches that may be made before their turn, and count for nothing.
  """

  def __init__(
    self,
    trainer: Trainer,
    make: Callable[[], Any] | None,
    held: Any = None,
  ):
    started = time.perf_counter()
    feed = make() if make else None
    self.trainer = trainer
    self.train, self.place = trainer.compiled(feed)
    if feed is None:
      self.batches = itertools.repeat((held,))
    else:
      self.batches = feed.batches(0, ENDLESS)
      first = next(self.batches)
      self.start = time.perf_counter() - started
      held = self.place(trainer.state, trainer.fixed, *first)
    self.held = held
    inner = getattr(feed, "feed", feed)  # of one that is taught
    streams = isinstance(inner, loaders.Stream)
    self.ahead = 2 * loaders.AHEAD * max(inner.workers, 1) if streams else 1
    self.step()  # compiles

  def close(self) -> None:
    """Ends the feed."""
    if hasattr(self.batches, "close"):
      self.batches.close()

  def step_seconds(self, seconds: float) -> float:
    """The seconds of a training step, of some that take so long together."""
    return timed(self.step, seconds, self.ahead, self.trainer.unawaited)

  def batch_seconds(self, seconds: float) -> float:
    """The seconds of a batch that is put in place, and not trained on."""
    return timed(self._put, seconds, self.ahead, self.trainer.unawaited)

  def step(self) -> Any:
    """A step on the next batch; its metrics."""
    return self.trainer.advance(self.train, *next(self.batches))

  def _put(self) -> Any:
    trainer = self.trainer
    return self.place(trainer.state, trainer.fixed, *next(self.batches))


def timed(
  work: Callable[[], Any],
  seconds: float,
  ahead: int = 1,
  unawaited: int = UNAWAITED,
) -> float:
  """The seconds that some work takes, done again and again.

  Args:
    work: gives arrays, which may not be there yet.
    seconds: how long, about; once at least.
    ahead: how often before, which counts for nothing.
    unawaited: how often before its arrays are waited for.
  """
  for _ in range(ahead):
    made = work()
  jax.block_until_ready(made)
  start = time.perf_counter()
  jax.block_until_ready(work())
  # Counted before: steps that are not waited for take no time to start.
  count = max(round(seconds / (time.perf_counter() - start)), 1)
  start = time.perf_counter()
  for done in range(1, count + 1):
    made = work()
    if done % unawaited == 0:
      jax.block_until_ready(made)
  jax.block_until_ready(made)
  return (time.perf_counter() - start) / count


def milliseconds(seconds: Sequence[float]) -> dict[str, float]:
  """Of seconds in some rounds, as of `spread`."""
  return spread(np.array(seconds) * 1e3)
