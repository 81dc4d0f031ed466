"""Teacher, student and both together, on pairs of networks; PyTorch beside."""

import contextlib
import dataclasses
import itertools
import pathlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from kdjax.bench import networks
from kdjax.bench.runner import Runner, Same, milliseconds, timed
from kdjax.bench.timing import interleaved, spread
from kdjax.bench.torch_process import Rival
from kdjax.bench.trainer import Trainer
from kdjax.errors import UserError
from kdjax.teachers import cache_plan, cache_writer, programs
from kdjax.training import workdir

TEACHER, CROSS_ENTROPY = "teacher's forward", "student, cross-entropy"
GIVEN, ONLINE, SEPARATE = "student, KD of what is given", "online", "separate"
CROSS_ENTROPY_FED = "student, cross-entropy, on its feed"
CACHED = "cached, on its feed"
MADE = "a batch of the cache made"

# For how long a teacher is paid for once, in the ratios.
EPOCHS = 10

# What PyTorch calls them.
MODES = ("teacher", "student", "online")


def measure(
  names: Sequence[str],
  *,
  seconds: float,
  rounds: int,
  rival: Rival | None = None,
  said: Callable[[str], None] = lambda text: None,
  known: Mapping[str, networks.Pair] | None = None,
) -> dict[str, Any]:
  """Times pairs, one after the other; of a pair, all in turn.

  Args:
    names: of pairs.
    seconds: of each measurement, over all rounds.
    rounds: in each of which all of a pair have their turn.
    rival: PyTorch's loop, in the same rounds.
    said: told of progress.
    known: pairs by name; None is those of `networks`.

  Returns:
    {"pairs": [{"pair", "batch_size", "differs", "steps": [{"step",
    "milliseconds", "examples_per_second"}], "ratios": [{"ratio": of what,
    "value"}]}]}; numbers are as of `spread`, ratios of the same rounds.

  Raises:
    UserError: there is no such pair.
  """
  known = networks.pairs() if known is None else known
  for name in names:
    if name not in known:
      raise UserError(f"No pair '{name}'.", exists=known, near=name)
  found = []
  for name in names:
    said(name)
    found.append(_pair(name, known[name], seconds, rounds, rival))
  return {"pairs": found}


def ratios_of(times: Mapping[str, Sequence[float]]) -> list[dict[str, Any]]:
  """What the times of a pair say, round by round.

  Args:
    times: name -> seconds in each round.
  """
  at = {name: np.array(seconds) for name, seconds in times.items()}
  apart = at[TEACHER] + at[GIVEN]
  found = {
    "online, of teacher and student apart": at[ONLINE] / apart,
    "separate, of teacher and student apart": at[SEPARATE] / apart,
    "cached, of cross-entropy": at[CACHED] / at[CROSS_ENTROPY_FED],
    "online's speed-up by a cache": at[ONLINE] / at[CACHED],
  }
  # What the times of teacher and student promise, and what there is.
  promised = EPOCHS * apart / (at[TEACHER] + EPOCHS * at[GIVEN])
  there = EPOCHS * at[ONLINE] / (at[MADE] + EPOCHS * at[CACHED])
  epochs = f"{EPOCHS} epochs, online of cached and the cache made"
  found[epochs] = there
  found[f"{epochs}: promised by teacher and student"] = promised
  found[f"{epochs}: promised of there"] = promised / there
  rivals = [name for name in at if name.startswith("PyTorch")]
  for name in rivals:
    if name.endswith("online"):
      found[f"speed online, of {name}"] = at[name] / at[ONLINE]
      found[f"speed cached, of {name}"] = at[name] / at[CACHED]
  return [
    {"ratio": name, "value": spread(value)} for name, value in found.items()
  ]


def _pair(name, pair, seconds, rounds, rival) -> dict[str, Any]:
  with contextlib.ExitStack() as stack:
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    turns = _turns(name, pair, pathlib.Path(folder), stack)
    for variant in pair.variants if rival else ():
      for mode in MODES:
        key = f"PyTorch {variant}, {mode}"
        turns[key] = rival.turn(name, variant, mode)
    times = interleaved(turns, rounds, seconds / rounds)
  return {
    "pair": name,
    "batch_size": pair.batch_size,
    "differs": pair.differs,
    "steps": [
      {
        "step": key,
        "milliseconds": milliseconds(found),
        "examples_per_second": spread(pair.batch_size / np.array(found)),
      }
      for key, found in times.items()
    ],
    "ratios": ratios_of(times),
  }


def _turns(name, pair, folder, stack) -> dict[str, Callable[[float], float]]:
  """name -> measures for some seconds: the seconds of a step."""
  plain = workdir.resolve(networks.experiment(name, pair))
  alone, online, separate = (
    Trainer(plain, stage) for stage in ("alone", "online", "separate")
  )
  cached = Trainer(plain, "cached", folder)
  held = online.first(online.feed())
  program = online.placement.compile(
    programs.program(online.stage, "teacher"), ("state", "fixed", "batch")
  )
  teacher = lambda: program(online.state, online.fixed, held)
  fed = Runner(cached, cached.feed)
  labelled = Runner(alone, alone.feed)
  stack.callback(fed.close)
  stack.callback(labelled.close)
  runners = {
    CROSS_ENTROPY: Runner(alone, None, held),
    GIVEN: Runner(cached, None, fed.held),
    ONLINE: Runner(online, None, held),
    SEPARATE: Runner(separate, lambda: separate.taught(Same(held))),
    CROSS_ENTROPY_FED: labelled,
    CACHED: fed,
  }
  return {
    TEACHER: lambda seconds: timed(teacher, seconds),
    **{key: one.step_seconds for key, one in runners.items()},
    MADE: _making(cached, folder, pair.batches),
  }


def _making(trainer: Trainer, folder: pathlib.Path, batches: int) -> Callable:
  """Measures for some seconds: those of a batch of a cache that is made."""
  stage = trainer.stage
  plan = cache_plan.plan(
    stage, folder, "teacher", trainer.orders, trainer.hosted
  )[0]
  outputs_of = cache_writer.program(stage, plan)
  numbers = itertools.count()

  def make():
    made = dataclasses.replace(plan, path=str(folder / f"made{next(numbers)}"))
    cache_writer.make(stage, made, outputs_of=outputs_of)

  return lambda seconds: timed(make, seconds) / batches
