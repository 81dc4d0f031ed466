"""What each feed gives, and what share of a stage's training step it costs."""

import contextlib
import functools
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from kdjax.bench.runner import Runner
from kdjax.bench.timing import interleaved, spread
from kdjax.bench.trainer import Trainer, named
from kdjax.config.fields import ConfigDict
from kdjax.training import workdir

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
      stack.callback(runner.close)
    held = Runner(trainer, None, next(iter(runners.values())).held)
    turns = {}
    for feed, runner in runners.items():
      turns[feed] = functools.partial(_turn, held, runner)
      turns[f"{feed} alone"] = runner.batch_seconds
    times = interleaved(turns, rounds, seconds / rounds)
    starts = {feed: runner.start for feed, runner in runners.items()}
  return {
    "stage": name,
    "data": found["data"]["name"],
    "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
    "batch_size": found["batch_size"],
    "seeds": len(trainer.seeds),
    "examples": size,
    "chosen": named(
      trainer.kind(found["data"]["feed"], size), found["data"]["workers"]
    ),
    "left_out": left_out,
    "rows": rows_of(times, starts, trainer.examples),
  }


def _turn(held: Runner, runner: Runner, seconds: float) -> tuple[float, float]:
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
