"""Losses as compiled programs, which take less time than their operations."""

import functools
import inspect
from typing import Any

import jax
import numpy as np


@functools.cache
def compiled(loss):
  """The loss as one program instead of one for each operation.

  Float options are traced, as in a training step, and others constants.
  """

  @functools.partial(jax.jit, static_argnums=2)
  def run(arrays, numbers, options):
    return loss(*arrays, **numbers, **dict(options))

  @functools.wraps(loss)
  def call(*arrays, **options):
    kinds = float | np.ndarray | jax.Array
    numbers = {k: v for k, v in options.items() if isinstance(v, kinds)}
    rest = {k: v for k, v in options.items() if k not in numbers}
    return run(arrays, numbers, tuple(rest.items()))

  return call


def compile_losses(space: dict[str, Any]) -> None:
  """Compiles the losses that a test file imports.

  Args:
    space: its `globals()`.
  """
  for name, value in [*space.items()]:
    module = getattr(value, "__module__", None)
    if inspect.isfunction(value) and module == f"kdjax.losses.{name}":
      space[name] = compiled(value)
