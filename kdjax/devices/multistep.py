"""Several training steps in one call of a compiled program."""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from kdjax.errors import UserError

# Steps per call on an accelerator, where the config sets none. On a CPU it is
# 1: XLA's convolutions are slow in a loop there.
ON_ACCELERATORS = 16


def steps_per_call(config: Mapping[str, Any], start: int, backend: str) -> int:
  """The number of steps per call.

  It divides the interval of logging, evaluation and checkpoints, so that a call
  ends at each of them.

  Args:
    config: of a stage; its `steps_per_call` is the maximum, where 0 means the
      default of the backend.
    start: the number of completed steps.
    backend: JAX's name for it.

  Raises:
    UserError: `steps_per_call` is negative.
  """
  most = config["steps_per_call"]
  if most < 0:
    raise UserError(f"steps_per_call is {most}.", "Expected 0 or more.")
  most = most or (1 if backend == "cpu" else ON_ACCELERATORS)
  due = [start, config["steps"]]
  due += [config[f"{what}_every"] for what in ("log", "eval", "save")]
  interval = math.gcd(*due)
  return max(n for n in range(1, most + 1) if interval % n == 0)


def many(step: Callable, roles: Sequence[str]) -> Callable:
  """Several steps as one function: (state, fixed, calls) -> state, metrics.

  Args:
    step: (state, fixed, *arguments) -> (state, metrics).
    roles: of the arguments; those with the role "rows" are the same in every
      step.

  Returns:
    A function of one tuple of arguments per step; its metrics have a leading
    axis of steps.
  """

  def steps(state, fixed, calls):
    stacked = tuple(
      None if role == "rows" else jax.tree.map(lambda *x: jnp.stack(x), *each)
      for role, each in zip(roles, zip(*calls, strict=True), strict=True)
    )

    def single(state, arguments):
      arguments = (
        first if role == "rows" else sliced
        for role, first, sliced in zip(roles, calls[0], arguments, strict=True)
      )
      return step(state, fixed, *arguments)

    return jax.lax.scan(single, state, stacked)

  return steps


def grouped(batches: Iterable[tuple], count: int) -> Iterator[tuple]:
  """Batches in tuples of `count`; the last may be shorter."""
  remaining = iter(batches)
  while chunk := tuple(itertools.islice(remaining, count)):
    yield chunk
