"""What each feed gives, and what share of a stage's training step it costs."""

import contextlib
import functools
import itertools
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from kdjax import build, experiment, feeds, workdir
from kdjax.fields import ConfigDict
from kdjax.state import Fixed
from kdjax.timing import interleaved, spread

# Steps of a feed without an end.
ENDLESS = 2**30

# Steps between those that are waited for, at most; as the loop does to record.
UNAWAITED = 50

FLOOR = "held batch"


def measure(
  config: ConfigDict,
  stage: str | None = None,
  *,
  seconds: float,
  workers: int,
  rounds: int,
) -> dict[str, Any]:
  """Times a stage's training step on each feed of its data.

  Teachers have the shapes of those that are trained, and no training.

  Args:
    config: of the experiment, from `get_config()`.
    stage: of it; None is the last.
    seconds: of each measurement, over all rounds.
    workers: processes of the stream that has some.
    rounds: in each of which every feed has its turn.

  Returns:
    {"stage", "data", "device", "batch_size", "seeds", "examples", "chosen":
    the feed of the config, "left_out": feed -> why, "rows": one a feed}. A row
    is {"feed", "start_seconds": to its first batch, "examples_per_second": of
    the feed alone, "step_milliseconds", "share": of a step}; the last three
    are as of `spread`. The first row is the step on one batch that lies on the
    devices: it has a step alone.
  """
  plain = workdir.resolve(config)
  name = list(plain["order"])[-1] if stage is None else stage
  trainer = Trainer(plain, name)
  found = trainer.stage.config
  runners, left_out = {}, {}
  size = max(len(order.source) for order in trainer.orders)
  with contextlib.ExitStack() as stack:
    for feed, make in trainer.feeds(workers).items():
      if feed == "device" and trainer.kind("auto", size) != "device":
        left_out[feed] = f"{size} examples are more than it may hold"
        continue
      runners[feed] = runner = Runner(trainer, make)
      stack.callback(runner.batches.close)
    held = Runner(trainer, None, next(iter(runners.values())).held)
    turns = {}
    for feed, runner in runners.items():
      turns[feed] = functools.partial(_turn, held, runner)
      turns[f"{feed} alone"] = runner.batch_seconds
    times = interleaved(turns, rounds, seconds / rounds)
  examples = found["batch_size"] * len(trainer.seeds)
  starts = {feed: runner.start for feed, runner in runners.items()}
  return {
    "stage": name,
    "data": found["data"]["name"],
    "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
    "batch_size": found["batch_size"],
    "seeds": len(trainer.seeds),
    "examples": size,
    "chosen": _named(
      trainer.kind(found["data"]["feed"], size), found["data"]["workers"]
    ),
    "left_out": left_out,
    "rows": rows_of(times, starts, examples),
  }


def _turn(
  held: "Runner", runner: "Runner", seconds: float
) -> tuple[float, float]:
  """Seconds of a step on a held batch, before and after, and on a feed."""
  before = held.step_seconds(seconds / 2)
  found = runner.step_seconds(seconds)
  after = held.step_seconds(seconds / 2)
  return (before + after) / 2, found


def rows_of(
  times: Mapping[str, list[Any]],
  starts: Mapping[str, float],
  examples: int,
) -> list[dict[str, Any]]:
  """The rows of `measure`.

  Args:
    times: feed -> (seconds of a step on a held batch, on the feed) a round;
      "<feed> alone" -> seconds of a batch that is put in place.
    starts: feed -> seconds to its first batch.
    examples: of a step.
  """
  floors = np.concatenate([np.array(times[feed])[:, 0] for feed in starts])
  rows = [{"feed": FLOOR, "step_milliseconds": spread(floors * 1e3)}]
  for feed, start in starts.items():
    floor, step = np.array(times[feed]).T
    alone = examples / np.array(times[f"{feed} alone"])
    rows.append(
      {
        "feed": feed,
        "start_seconds": start,
        "examples_per_second": spread(alone),
        "step_milliseconds": spread(step * 1e3),
        "share": spread((step - floor) / step),
      }
    )
  return rows


def _named(kind: str, workers: int) -> str:
  """What a feed is called here."""
  if kind == "device":
    return kind
  return f"stream, {workers} processes" if workers else "stream, threads"


class Trainer:
  """A stage on its devices, whose state goes on from step to step.

  Args:
    config: of the experiment, as nested dicts.
    name: of the stage.
  """

  def __init__(self, config: Mapping[str, Any], name: str):
    plain = build.build(config, name)
    self.placement = experiment.place(config, plain)
    self.placement.check(plain.config["batch_size"])
    self.stage = build.build(config, name, self.placement.axis_name)
    self.seeds = experiment.seeds_of(config)
    fixed = [self._fixed(seed) for seed in self.seeds]
    init = jax.jit(self.stage.init)
    self.fixed = self.placement.put_fixed(fixed)
    self.state = self.placement.put(
      [init(seed, one) for seed, one in zip(self.seeds, fixed, strict=True)]
    )
    self.orders = [
      self.stage.train_feed(self.stage.load("train", seed), seed)
      for seed in self.seeds
    ]
    self._compiled: dict[tuple, tuple[Callable, Callable]] = {}

  def _fixed(self, seed: int) -> Fixed:
    """What a seed's steps read: teachers that nobody trained."""
    draw = np.random.default_rng(seed)
    teachers = jax.tree.map(
      lambda leaf: np.abs(draw.normal(0.0, 0.02, leaf.shape)).astype(
        leaf.dtype
      ),
      self.stage.teacher_shapes(),
    )
    return self.stage.fixed(teachers, self.stage.facts(seed))

  def kind(self, kind: str, size: int) -> str:
    """ "device" or "stream", as `feeds.kind_of` says."""
    return feeds.kind_of(kind, self.stage.spec, size)

  def feeds(self, workers: int) -> dict[str, Callable[[], Any]]:
    """Every feed by name, and what makes it."""
    stream = lambda count: feeds.Stream(self.placement, self.orders, count)
    return {
      "device": lambda: feeds.Rows(self.placement, self.orders),
      _named("stream", 0): lambda: stream(0),
      _named("stream", workers): lambda: stream(workers),
    }

  def compiled(self, feed: Any) -> tuple[Callable, Callable]:
    """The step on what a feed gives, and what only puts its batch in place.

    Args:
      feed: None is a batch that is in place.
    """
    over = feed.over if feed else lambda step: step
    roles = ("state", "fixed", *(feed.roles if feed else ("batch",)))
    if roles not in self._compiled:
      compile_ = self.placement.compile
      self._compiled[roles] = (
        compile_(over(self.stage.train_step), roles, donate=True),
        compile_(over(lambda state, fixed, batch: batch), roles),
      )
    return self._compiled[roles]


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
    self, trainer: Trainer, make: Callable[[], Any] | None, held: Any = None
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
    streams = isinstance(feed, feeds.Stream)
    self.ahead = 2 * feeds.AHEAD * max(feed.workers, 1) if streams else 1
    every = trainer.stage.config["log_every"] or UNAWAITED
    self.unawaited = min(every, UNAWAITED)
    self._step()  # compiles

  def step_seconds(self, seconds: float) -> float:
    """The seconds of a training step, of some that take so long together."""
    return self._timed(self._step, seconds)

  def batch_seconds(self, seconds: float) -> float:
    """The seconds of a batch that is put in place, and not trained on."""
    return self._timed(self._put, seconds)

  def _step(self) -> Any:
    trainer = self.trainer
    done = self.train(trainer.state, trainer.fixed, *next(self.batches))
    trainer.state = [state for state, _ in done]
    return [metrics for _, metrics in done]

  def _put(self) -> Any:
    trainer = self.trainer
    return self.place(trainer.state, trainer.fixed, *next(self.batches))

  def _timed(self, work: Callable[[], Any], seconds: float) -> float:
    for _ in range(self.ahead):
      made = work()
    jax.block_until_ready(made)
    count, start = 0, time.perf_counter()
    while not count or time.perf_counter() - start < seconds:
      made = work()
      count += 1
      if count % self.unawaited == 0:
        jax.block_until_ready(made)
    jax.block_until_ready(made)
    return (time.perf_counter() - start) / count
