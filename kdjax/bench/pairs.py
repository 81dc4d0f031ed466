"""Step times of teacher and student pairs, optionally next to PyTorch."""

import contextlib
import dataclasses
import itertools
import pathlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from kdjax.bench import networks
from kdjax.bench.runner import (
  RepeatedBatch,
  Runner,
  milliseconds,
  seconds_per_call,
)
from kdjax.bench.timing import interleaved, quartiles
from kdjax.bench.torch_process import TorchProcess
from kdjax.bench.trainer import Trainer
from kdjax.errors import UserError
from kdjax.teachers import cache_plan, cache_writer, programs
from kdjax.training import workdir

TEACHER, CROSS_ENTROPY = "teacher's forward", "student, cross-entropy"
KD, ONLINE, SEPARATE = "student, KD on stored outputs", "online", "separate"
CROSS_ENTROPY_FED = "student, cross-entropy, with its feed"
CACHED = "cached, with its feed"
WRITTEN = "a batch written to the cache"

# The length of the run in the ratios that include writing the cache.
EPOCHS = 10

# Modes of the PyTorch loop.
MODES = ("teacher", "student", "online")


def measure(
  names: Sequence[str],
  *,
  seconds: float,
  rounds: int,
  torch: TorchProcess | None = None,
  log: Callable[[str], None] = lambda line: None,
  known: Mapping[str, networks.Pair] | None = None,
) -> dict[str, Any]:
  """Times pairs one after the other; the steps of a pair take turns.

  Args:
    names: of pairs.
    seconds: of each measurement, over all rounds.
    rounds: each measures every step of a pair once.
    torch: a PyTorch loop to time in the same rounds.
    log: is called with lines about the progress.
    known: pairs by name; None is those of `networks`.

  Returns:
    {"pairs": [{"pair", "batch_size", "differs", "steps": [{"step",
    "milliseconds", "examples_per_second"}], "ratios": [{"ratio": its name,
    "value"}]}]}. Numbers are `quartiles`; a ratio is of times in one round.

  Raises:
    UserError: a pair does not exist.
  """
  known = networks.pairs() if known is None else known
  for name in names:
    if name not in known:
      raise UserError(
        f"The pair '{name}' of --pairs does not exist.", exists=known, near=name
      )
  results = []
  for name in names:
    log(name)
    results.append(_pair(name, known[name], seconds, rounds, torch))
  return {"pairs": results}


def ratios_of(times: Mapping[str, Sequence[float]]) -> list[dict[str, Any]]:
  """Ratios between the times of a pair, computed in each round.

  Args:
    times: step -> seconds in each round.

  Returns:
    Rows {"ratio": its name, "value": as `quartiles`}.
  """
  at = {name: np.array(seconds) for name, seconds in times.items()}
  both = at[TEACHER] + at[KD]
  ratios = {
    "online / (teacher + student)": at[ONLINE] / both,
    "separate / (teacher + student)": at[SEPARATE] / both,
    "cached / cross-entropy": at[CACHED] / at[CROSS_ENTROPY_FED],
    "online / cached": at[ONLINE] / at[CACHED],
  }
  # The same ratio from the times of teacher and student alone, and measured.
  expected = EPOCHS * both / (at[TEACHER] + EPOCHS * at[KD])
  measured = EPOCHS * at[ONLINE] / (at[WRITTEN] + EPOCHS * at[CACHED])
  epochs = f"{EPOCHS} epochs: online / (cached + writing the cache)"
  ratios[epochs] = measured
  ratios[f"{epochs}, expected from teacher and student"] = expected
  ratios[f"{epochs}, expected / measured"] = expected / measured
  for name in at:
    if name.startswith("PyTorch") and name.endswith("online"):
      ratios[f"{name} / online"] = at[name] / at[ONLINE]
      ratios[f"{name} / cached"] = at[name] / at[CACHED]
  return [
    {"ratio": name, "value": quartiles(value)} for name, value in ratios.items()
  ]


def _pair(name, pair, seconds, rounds, torch) -> dict[str, Any]:
  with contextlib.ExitStack() as stack:
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    measurements = _measurements(name, pair, pathlib.Path(folder), stack)
    for variant in pair.variants if torch else ():
      for mode in MODES:
        step = f"PyTorch {variant}, {mode}"
        measurements[step] = torch.measurement(name, variant, mode)
    times = interleaved(measurements, rounds, seconds / rounds)
  return {
    "pair": name,
    "batch_size": pair.batch_size,
    "differs": pair.differs,
    "steps": [
      {
        "step": step,
        "milliseconds": milliseconds(values),
        "examples_per_second": quartiles(pair.batch_size / np.array(values)),
      }
      for step, values in times.items()
    ],
    "ratios": ratios_of(times),
  }


def _measurements(
  name, pair, folder, stack
) -> dict[str, Callable[[float], float]]:
  """Step -> (seconds to measure for) -> seconds per step."""
  plain = workdir.resolve(networks.experiment(name, pair))
  alone, online, separate = (
    Trainer(plain, stage) for stage in ("alone", "online", "separate")
  )
  cached = Trainer(plain, "cached", folder)
  batch = online.first_batch(online.feed())
  program = online.placement.compile(
    programs.teacher_program(online.stage, "teacher"),
    ("state", "fixed", "batch"),
  )
  teacher = lambda: program(online.state, online.fixed, batch)
  cached_feed = Runner(cached, cached.feed)
  alone_feed = Runner(alone, alone.feed)
  stack.callback(cached_feed.close)
  stack.callback(alone_feed.close)
  separate_feed = lambda: separate.with_teachers(RepeatedBatch(batch))
  runners = {
    CROSS_ENTROPY: Runner(alone, None, batch),
    KD: Runner(cached, None, cached_feed.batch),
    ONLINE: Runner(online, None, batch),
    SEPARATE: Runner(separate, separate_feed),
    CROSS_ENTROPY_FED: alone_feed,
    CACHED: cached_feed,
  }
  return {
    TEACHER: lambda seconds: seconds_per_call(teacher, seconds),
    **{step: it.step_seconds for step, it in runners.items()},
    WRITTEN: _cache_writing(cached, folder, pair.batches),
  }


def _cache_writing(
  trainer: Trainer, folder: pathlib.Path, batches: int
) -> Callable[[float], float]:
  """(seconds to measure for) -> seconds per batch written to a new cache."""
  stage = trainer.stage
  plan = cache_plan.plan(
    stage, folder, "teacher", trainer.orders, trainer.host_fixed
  )[0]
  run_teacher = cache_writer.compile_teacher(stage, plan)
  numbers = itertools.count()

  def write():
    path = str(folder / f"written{next(numbers)}")
    new = dataclasses.replace(plan, path=path)
    cache_writer.write(stage, new, run_teacher=run_teacher)

  return lambda seconds: seconds_per_call(write, seconds) / batches
