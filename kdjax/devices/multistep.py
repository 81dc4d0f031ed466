"""Several steps in one call of the device, where that saves time."""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from kdjax.errors import UserError

# Steps of a call on an accelerator, where the config does not say. On a CPU a
# step is a call: XLA's convolutions are slow in a loop there.
ON_ACCELERATORS = 16


def steps_per_call(config: Mapping[str, Any], start: int, backend: str) -> int:
  """How many steps a call makes, so that calls end where something is due.

  Args:
    config: of a stage; its `steps_per_call` is the most, 0 is by the backend.
    start: steps that are done.
    backend: JAX's name of it.
  """
  most = config["steps_per_call"]
  if most < 0:
    raise UserError(f"steps_per_call is {most}.", "Expected 0 or more.")
  most = most or (1 if backend == "cpu" else ON_ACCELERATORS)
  due = [start, config["steps"]]
  due += [config[f"{what}_every"] for what in ("log", "eval", "save")]
  together = math.gcd(*due)
  return max(n for n in range(1, most + 1) if together % n == 0)


def many(step: Callable, roles: Sequence[str]) -> Callable:
  """A step as one of several calls: (state, fixed, calls) -> state, metrics.

  Args:
    step: (state, fixed, *arguments) -> (state, metrics).
    roles: of the arguments. "rows" are the same in every call.

  Returns:
    A function whose metrics have a leading axis of steps.
  """

  def steps(state, fixed, calls):
    stacked = tuple(
      None if role == "rows" else jax.tree.map(lambda *x: jnp.stack(x), *each)
      for role, each in zip(roles, zip(*calls, strict=True), strict=True)
    )

    def one(state, arguments):
      given = (
        rows if role == "rows" else own
        for role, rows, own in zip(roles, calls[0], arguments, strict=True)
      )
      return step(state, fixed, *given)

    return jax.lax.scan(one, state, stacked)

  return steps


def grouped(batches: Iterable[tuple], count: int) -> Iterator[tuple]:
  """Batches in tuples of `count`."""
  found = iter(batches)
  while chunk := tuple(itertools.islice(found, count)):
    yield chunk
