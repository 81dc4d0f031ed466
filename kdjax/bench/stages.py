"""Where the time of a stage's training step goes."""

import contextlib
import functools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from kdjax.bench import machine, program, step_parts
from kdjax.bench.host_loop import Calls, returned
from kdjax.bench.runner import Runner, Same, milliseconds, timed
from kdjax.bench.timing import interleaved, spread
from kdjax.bench.trainer import ENDLESS, Trainer
from kdjax.config.fields import ConfigDict
from kdjax.devices import multistep
from kdjax.errors import UserError
from kdjax.teachers import programs
from kdjax.training import workdir

INPUT, HOST = "input", "metrics to the host"

# Steps of a trace.
TRACED = 10


def measure(
  config: ConfigDict, stage: str | None = None, *, seconds: float, rounds: int
) -> dict[str, Any]:
  """Times a stage's step, its parts, its teachers and its loop, in turn.

  Args:
    config: of the experiment, from `get_config()`.
    stage: of it; None is the last.
    seconds: of each measurement, over all rounds.
    rounds: in each of which all have their turn.

  Returns:
    {"stage", "data", "batch_size", "seeds", "teachers": how each is there,
    "loop": the step as `kdjax run` has it, and its idle time, which is that
    less the compiled step's; "parts": see `rows_of`, "alone":
    programs by themselves, "cost", "use": what shares of the machine's
    "peaks"}. Times are of a step of all seeds, as of `spread`.
  """
  plain = workdir.resolve(config)
  name = list(plain["order"])[-1] if stage is None else stage
  trainer = Trainer(plain, name)
  with contextlib.ExitStack() as stack:
    ladder, alone = _programs(trainer, stack)
    able = machine.turns()
    times = interleaved({**ladder, **alone, **able}, rounds, seconds / rounds)
  cost = program.cost(plain, trainer)
  peaks = machine.peaks({key: times[key] for key in able})
  step = float(np.median(times[step_parts.WHOLE]))
  idle = float(np.median(times[HOST])) - step
  config_of = trainer.stage.config
  return {
    "stage": name,
    "data": config_of["data"]["name"],
    "batch_size": config_of["batch_size"],
    "seeds": len(trainer.seeds),
    "teachers": _told(trainer),
    "loop": {
      "milliseconds": milliseconds(times[HOST]),
      "examples_per_second": spread(trainer.examples / np.array(times[HOST])),
      "idle_milliseconds": idle * 1e3,
    },
    "parts": rows_of({part: times[part] for part in ladder}),
    "alone": [
      {"program": key, "milliseconds": milliseconds(times[key])}
      for key in alone
    ],
    "cost": {**cost, "device_memory_bytes": machine.memory()},
    "peaks": peaks,
    "use": use_of(cost, peaks, step / len(trainer.seeds) * jax.device_count()),
  }


def trace(
  config: ConfigDict, stage: str | None, folder: str
) -> list[pathlib.Path]:
  """Writes a profile of some steps, and returns its files.

  Args:
    config: of the experiment.
    stage: of it; None is the last.
    folder: where `plugins/profile/<time>/` is made.

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
        made = runner.step()
    jax.block_until_ready(made)
  runner.close()
  new = set(pathlib.Path(folder).rglob("*")) - before
  found = sorted(path for path in new if path.is_file())
  if not any(path.name.endswith(".xplane.pb") for path in found):
    raise UserError(f"JAX's profiler wrote nothing to {folder}.")
  return found


def rows_of(times: Mapping[str, Sequence[float]]) -> list[dict[str, Any]]:
  """The parts of a step, of the seconds of programs each of which has one more.

  Args:
    times: part -> seconds in each round of all parts up to it, in order.

  Returns:
    A row a part: {"part", "adds": milliseconds, "difference": whether that
    is a difference of two medians (the first is none), "share": of the last,
    "up_to": milliseconds of all up to it, as of `spread`}. They add up to the
    last.
  """
  rows: list[dict[str, Any]] = []
  whole = float(np.median([*times.values()][-1])) * 1e3
  before = 0.0
  for part, seconds in times.items():
    found = milliseconds(seconds)
    rows.append(
      {
        "part": part,
        "adds": found["median"] - before,
        "difference": bool(rows),
        "share": (found["median"] - before) / whole,
        "up_to": found,
      }
    )
    before = found["median"]
  return rows


def use_of(
  cost: Mapping[str, Any], peaks: Mapping[str, Any], seconds: float
) -> dict[str, float | None]:
  """What a step has of what a device can do.

  Args:
    cost: of one seed's step.
    peaks: of `machine.peaks`.
    seconds: of the step, of one seed on one device.

  Returns:
    FLOP/s, and the shares of the peaks of both dtypes and of the memory's; None
    where the compiler does not say.
  """
  flops, bytes_ = cost["flops"], cost["bytes"]
  share = lambda amount, kind: (
    amount and amount / seconds / peaks[kind]["median"]
  )
  return {
    "flops_per_second": flops and flops / seconds,
    "of_float32_peak": share(flops, "float32"),
    "of_bfloat16_peak": share(flops, "bfloat16"),
    "of_memory_bandwidth": share(bytes_, machine.PASS),
  }


def _programs(trainer: Trainer, stack: contextlib.ExitStack):
  """The ladder of parts, and programs alone: name -> measures, for seconds."""
  fed = Runner(trainer, trainer.feed)
  stack.callback(fed.close)
  ladder: dict[str, Callable] = {}
  roles = ("state", "fixed", "batch")
  for part, (made, donates) in step_parts.programs(trainer).items():
    compiled = trainer.placement.compile(made, roles, donate=donates)
    ladder[part] = _run(trainer, compiled, donates, fed.held)
  count = multistep.steps_per_call(
    trainer.stage.config, 0, jax.default_backend()
  )
  if count > 1:
    held = Calls(trainer, Same(fed.held), count)
    ladder[f"in calls of {count} steps"] = held.seconds_of(recorded=False)
  loop = Calls(trainer, trainer.feed(), count)
  stack.callback(loop.close)
  ladder[INPUT] = loop.seconds_of(recorded=False)
  ladder[HOST] = loop.seconds_of(recorded=True)
  alone = {
    f"{name}, alone": _run(
      trainer,
      trainer.placement.compile(programs.program(trainer.stage, name), roles),
      False,
      fed.held,
    )
    for name in trainer.stage.teacher_shapes()
  }
  nothing, _ = step_parts.programs(trainer)[step_parts.CALL]
  feed = trainer.feed()
  empty = trainer.placement.compile(
    feed.over(nothing), ("state", "fixed", *feed.roles), donate=True
  )
  batches = feed.batches(0, ENDLESS)
  stack.callback(batches.close)
  alone["host: a batch and an empty step"] = functools.partial(
    timed, lambda: trainer.advance(empty, *next(batches))
  )
  alone["until a call returns"] = functools.partial(returned, fed)
  return ladder, alone


def _run(trainer, compiled, donates, held) -> Callable[[float], float]:
  """Measures a program on a batch that is in place."""

  def work():
    if donates:
      return trainer.advance(compiled, held)
    return compiled(trainer.state, trainer.fixed, held)

  jax.block_until_ready(work())
  return lambda seconds: timed(work, seconds, unawaited=trainer.unawaited)


def _told(trainer: Trainer) -> dict[str, str]:
  """How each teacher is there."""
  found = {}
  for name, teacher in trainer.stage.config["teachers"].items():
    if name in trainer.objective.averages:
      found[name] = "an average, in the step"
    elif name not in trainer.given:
      found[name] = "in the step"
    elif teacher["cache"]:
      found[name] = "from a cache, as if read in no time"
    else:
      found[name] = "beside the step"
  return found
