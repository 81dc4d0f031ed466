"""The time of a stage's training step, by its parts."""

import contextlib
import functools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from kdjax.bench import machine, program, step_parts
from kdjax.bench.host_loop import LoopCalls, dispatch_seconds
from kdjax.bench.runner import (
  RepeatedBatch,
  Runner,
  milliseconds,
  seconds_per_call,
)
from kdjax.bench.timing import interleaved, quartiles
from kdjax.bench.trainer import ENDLESS, Trainer
from kdjax.config.fields import ConfigDict
from kdjax.devices import multistep
from kdjax.errors import UserError
from kdjax.teachers import programs
from kdjax.training import workdir

INPUT, HOST = "input", "metrics to the host"

# Steps in a profile.
TRACED = 10


def measure(
  config: ConfigDict, stage: str | None = None, *, seconds: float, rounds: int
) -> dict[str, Any]:
  """Times a stage's step, its parts, its teachers and its loop, in turns.

  Args:
    config: of the experiment, from `get_config()`.
    stage: its name; None is the last.
    seconds: of each measurement, over all rounds.
    rounds: each measures everything once.

  Returns:
    {"stage", "data", "batch_size", "seeds", "teachers": where each runs,
    "loop": the step as in `kdjax run`, and its idle time, which is the loop's
    step minus the compiled step; "parts": see `part_rows`; "alone": programs on
    their own; "cost": see `program.cost`; "peaks": of the machine; "use": the
    shares of the peaks}. Times are of a step of all seeds, as `quartiles`.
  """
  plain = workdir.resolve(config)
  name = list(plain["order"])[-1] if stage is None else stage
  trainer = Trainer(plain, name)
  with contextlib.ExitStack() as stack:
    parts, alone = _programs(trainer, stack)
    rates = machine.measurements()
    times = interleaved({**parts, **alone, **rates}, rounds, seconds / rounds)
  cost = program.cost(plain, trainer)
  peaks = machine.peaks({key: times[key] for key in rates})
  step = float(np.median(times[step_parts.WHOLE]))
  idle = float(np.median(times[HOST])) - step
  stage_config = trainer.stage.config
  return {
    "stage": name,
    "data": stage_config["data"]["name"],
    "batch_size": stage_config["batch_size"],
    "seeds": len(trainer.seeds),
    "teachers": _teachers(trainer),
    "loop": {
      "milliseconds": milliseconds(times[HOST]),
      "examples_per_second": quartiles(
        trainer.examples / np.array(times[HOST])
      ),
      "idle_milliseconds": idle * 1e3,
    },
    "parts": part_rows({part: times[part] for part in parts}),
    "alone": [
      {"program": key, "milliseconds": milliseconds(times[key])}
      for key in alone
    ],
    "cost": {**cost, "device_memory_bytes": machine.peak_memory()},
    "peaks": peaks,
    "use": utilization(
      cost, peaks, step / len(trainer.seeds) * jax.device_count()
    ),
  }


def trace(
  config: ConfigDict, stage: str | None, folder: str
) -> list[pathlib.Path]:
  """Profiles some steps and returns the files of the profile.

  Args:
    config: of the experiment.
    stage: its name; None is the last.
    folder: where `plugins/profile/<time>/` is created.

  Raises:
    UserError: no file was written.
  """
  plain = workdir.resolve(config)
  name = list(plain["order"])[-1] if stage is None else stage
  trainer = Trainer(plain, name)
  runner = Runner(trainer, trainer.feed)
  for _ in range(3):
    jax.block_until_ready(runner.step())
  before = set(pathlib.Path(folder).rglob("*"))
  with jax.profiler.trace(folder):
    for step in range(TRACED):
      with jax.profiler.StepTraceAnnotation("train", step_num=step):
        metrics = runner.step()
    jax.block_until_ready(metrics)
  runner.close()
  new = set(pathlib.Path(folder).rglob("*")) - before
  files = sorted(path for path in new if path.is_file())
  if not any(path.name.endswith(".xplane.pb") for path in files):
    raise UserError(
      f"JAX's profiler wrote no profile to {folder}.",
      "Expected a folder that can be written.",
    )
  return files


def part_rows(times: Mapping[str, Sequence[float]]) -> list[dict[str, Any]]:
  """The time of each part of a step.

  Args:
    times: part -> seconds of the program with all parts up to it, per round.

  Returns:
    A row for each part: {"part", "adds": milliseconds, "difference": whether
    `adds` is the difference of two medians (not for the first), "share": of the
    last program, "up_to": milliseconds of the program, as `quartiles`}. The
    parts add up to the last program.
  """
  rows: list[dict[str, Any]] = []
  whole = float(np.median([*times.values()][-1])) * 1e3
  before = 0.0
  for part, seconds in times.items():
    up_to = milliseconds(seconds)
    rows.append(
      {
        "part": part,
        "adds": up_to["median"] - before,
        "difference": bool(rows),
        "share": (up_to["median"] - before) / whole,
        "up_to": up_to,
      }
    )
    before = up_to["median"]
  return rows


def utilization(
  cost: Mapping[str, Any], peaks: Mapping[str, Any], seconds: float
) -> dict[str, float | None]:
  """The shares of a device's peak rates that a step reaches.

  Args:
    cost: of one seed's step.
    peaks: from `machine.peaks`.
    seconds: of the step, for one seed on one device.

  Returns:
    FLOP/s, and the shares of the peak of both dtypes and of the memory
    bandwidth; None if the compiler does not report the cost.
  """
  flops, bytes_ = cost["flops"], cost["bytes"]
  share = lambda amount, kind: (
    amount and amount / seconds / peaks[kind]["median"]
  )
  return {
    "flops_per_second": flops and flops / seconds,
    "of_float32_peak": share(flops, "float32"),
    "of_bfloat16_peak": share(flops, "bfloat16"),
    "of_memory_bandwidth": share(bytes_, machine.BANDWIDTH),
  }


def _programs(trainer: Trainer, stack: contextlib.ExitStack):
  """Measurements of the parts, each with all before it, and of single programs.

  Both are name -> (seconds to measure for) -> seconds per call.
  """
  runner = Runner(trainer, trainer.feed)
  stack.callback(runner.close)
  parts: dict[str, Callable] = {}
  roles = ("state", "fixed", "batch")
  for part, (function, donates) in step_parts.programs(trainer).items():
    compiled = trainer.placement.compile(function, roles, donate=donates)
    parts[part] = _measurement(trainer, compiled, donates, runner.batch)
  count = multistep.steps_per_call(
    trainer.stage.config, 0, jax.default_backend()
  )
  if count > 1:
    calls = LoopCalls(trainer, RepeatedBatch(runner.batch), count)
    parts[f"in calls of {count} steps"] = calls.measurement(recorded=False)
  loop = LoopCalls(trainer, trainer.feed(), count)
  stack.callback(loop.close)
  parts[INPUT] = loop.measurement(recorded=False)
  parts[HOST] = loop.measurement(recorded=True)
  alone = {
    f"{name}, alone": _measurement(
      trainer,
      trainer.placement.compile(
        programs.teacher_program(trainer.stage, name), roles
      ),
      False,
      runner.batch,
    )
    for name in trainer.stage.teacher_shapes()
  }
  empty_step, _ = step_parts.programs(trainer)[step_parts.CALL]
  feed = trainer.feed()
  empty = trainer.placement.compile(
    feed.over(empty_step), ("state", "fixed", *feed.roles), donate=True
  )
  batches = feed.batches(0, ENDLESS)
  stack.callback(batches.close)
  alone["host: a batch and an empty step"] = functools.partial(
    seconds_per_call, lambda: trainer.advance(empty, *next(batches))
  )
  alone["until a call returns"] = functools.partial(dispatch_seconds, runner)
  return parts, alone


def _measurement(trainer, compiled, donates, batch) -> Callable[[float], float]:
  """Compiles a program; returns a function that measures it on a batch."""

  def call():
    if donates:
      return trainer.advance(compiled, batch)
    return compiled(trainer.state, trainer.fixed, batch)

  jax.block_until_ready(call())
  return lambda seconds: seconds_per_call(
    call, seconds, max_pending=trainer.max_pending
  )


def _teachers(trainer: Trainer) -> dict[str, str]:
  """Where each teacher runs."""
  sources = {}
  for name, teacher in trainer.stage.config["teachers"].items():
    if name in trainer.objective.averages:
      sources[name] = "an average, in the step"
    elif name not in trainer.precomputed:
      sources[name] = "in the step"
    elif teacher["cache"]:
      sources[name] = "from a cache, without the time to read it"
    else:
      sources[name] = "in its own program"
  return sources
