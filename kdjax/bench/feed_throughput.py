"""Throughput of each feed, and its share of a stage's training step."""

import contextlib
import functools
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from kdjax.bench.runner import Runner
from kdjax.bench.timing import interleaved, quartiles
from kdjax.bench.trainer import Trainer, feed_name
from kdjax.config.fields import ConfigDict
from kdjax.training import workdir

BASELINE = "fixed batch"


def measure(
  config: ConfigDict,
  stage: str | None = None,
  *,
  seconds: float,
  workers: int,
  rounds: int,
) -> dict[str, Any]:
  """Times a stage's training step with each feed of its data.

  Teachers have initial variables; no earlier stage needs to be trained.

  Args:
    config: of the experiment, from `get_config()`.
    stage: its name; None is the last.
    seconds: of each measurement, over all rounds.
    workers: the number of processes of the stream with processes.
    rounds: each measures every feed once.

  Returns:
    {"stage", "data", "device", "batch_size", "seeds", "examples", "chosen":
    the feed of the config, "left_out": feed -> reason, "rows"}. A row is
    {"feed", "start_seconds": until its first batch, "examples_per_second": of
    the feed alone, "step_milliseconds", "share": of the feed in a step}; the
    last three as `quartiles`. The first row repeats a batch on the devices and
    has "step_milliseconds" only.
  """
  plain = workdir.resolve(config)
  name = list(plain["order"])[-1] if stage is None else stage
  trainer = Trainer(plain, name)
  stage_config = trainer.stage.config
  runners, left_out = {}, {}
  size = max(len(order.source) for order in trainer.orders)
  with contextlib.ExitStack() as stack:
    for feed, make_feed in trainer.feeds(workers).items():
      if feed == "device" and trainer.kind("auto", size) != "device":
        left_out[feed] = f"{size} examples do not fit the devices"
        continue
      runners[feed] = runner = Runner(trainer, make_feed)
      stack.callback(runner.close)
    fixed = Runner(trainer, None, next(iter(runners.values())).batch)
    turns = {}
    for feed, runner in runners.items():
      turns[feed] = functools.partial(_step_times, fixed, runner)
      turns[f"{feed} alone"] = runner.batch_seconds
    times = interleaved(turns, rounds, seconds / rounds)
    starts = {feed: runner.start for feed, runner in runners.items()}
  return {
    "stage": name,
    "data": stage_config["data"]["name"],
    "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
    "batch_size": stage_config["batch_size"],
    "seeds": len(trainer.seeds),
    "examples": size,
    "chosen": feed_name(
      trainer.kind(stage_config["data"]["feed"], size),
      stage_config["data"]["workers"],
    ),
    "left_out": left_out,
    "rows": rows_of(times, starts, trainer.examples),
  }


def _step_times(
  fixed: Runner, runner: Runner, seconds: float
) -> tuple[float, float]:
  """Seconds of a step on a fixed batch, and of one on a feed.

  The fixed batch is measured before and after the feed.
  """
  before = fixed.step_seconds(seconds / 2)
  with_feed = runner.step_seconds(seconds)
  after = fixed.step_seconds(seconds / 2)
  return (before + after) / 2, with_feed


def rows_of(
  times: Mapping[str, list[Any]],
  starts: Mapping[str, float],
  examples: int,
) -> list[dict[str, Any]]:
  """The rows of `measure`.

  Args:
    times: feed -> (seconds of a step on a fixed batch, on the feed) per round;
      "<feed> alone" -> seconds to put a batch on the devices, per round.
    starts: feed -> seconds until its first batch.
    examples: of a step.
  """
  fixed = np.concatenate([np.array(times[feed])[:, 0] for feed in starts])
  rows = [{"feed": BASELINE, "step_milliseconds": quartiles(fixed * 1e3)}]
  for feed, start in starts.items():
    baseline, step = np.array(times[feed]).T
    alone = examples / np.array(times[f"{feed} alone"])
    rows.append(
      {
        "feed": feed,
        "start_seconds": start,
        "examples_per_second": quartiles(alone),
        "step_milliseconds": quartiles(step * 1e3),
        "share": quartiles((step - baseline) / step),
      }
    )
  return rows
