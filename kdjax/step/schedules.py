"""Schedules of learning rates, term weights, temperatures, by step."""

from collections.abc import Callable, Mapping

import jax.numpy as jnp
import optax

from kdjax.errors import UserError

Schedule = Callable[[jnp.ndarray], jnp.ndarray]


def make(spec: float | Mapping, steps: int) -> Schedule:
  """An optax schedule from its config.

  Args:
    spec: a number, or the result of `config.schedule()`.
    steps: the length of the stage.

  Returns:
    A function step -> value, both scalars.

  Raises:
    UserError: the kind of schedule is unknown.
  """
  if isinstance(spec, int | float):
    return optax.constant_schedule(spec)
  value, warmup = spec["value"], spec["warmup"]
  span = max(1, (spec["steps"] or steps) - warmup)
  if spec["kind"] == "constant":
    after = optax.constant_schedule(value)
  elif spec["kind"] == "linear":
    after = optax.linear_schedule(value, spec["end"], span)
  elif spec["kind"] == "cosine":
    # optax's cosine ends at a fraction of its start, so that 0 could not rise.
    after = lambda step: (
      spec["end"]
      + (value - spec["end"])
      * 0.5
      * (1 + jnp.cos(jnp.pi * jnp.minimum(step / span, 1.0)))
    )
  elif spec["kind"] == "step":
    at = {
      round(share * (span + warmup)) - warmup: spec["factor"]
      for share in spec["milestones"]
    }
    after = optax.piecewise_constant_schedule(value, at)
  elif spec["kind"] == "decay":
    period = max(1, round(spec["every"] * (span + warmup)))
    after = optax.exponential_decay(
      value, period, spec["factor"], staircase=True
    )
  elif spec["kind"] == "late":
    share = spec["milestones"][0] if spec["milestones"] else 0.0
    begin = round(share * (span + warmup)) - warmup
    after = lambda step: jnp.where(step >= begin, value, 0.0)
  else:
    raise UserError(
      f"No schedule '{spec['kind']}'.",
      exists=("constant", "linear", "cosine", "step", "decay", "late"),
      near=spec["kind"],
    )
  if not warmup:
    return after
  rise = optax.linear_schedule(0.0, value, warmup)
  return optax.join_schedules([rise, after], [warmup])
