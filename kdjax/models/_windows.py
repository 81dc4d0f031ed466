"""Overlapping windows over time: their number and their mask."""

import math

import jax.numpy as jnp
from jaxtyping import Bool

from kdjax.errors import ShapeError
from kdjax.types import Array


def check(
  size: int, stride: int, steps: int, length: int, what: tuple[str, str]
) -> None:
  """Raises `ShapeError` for windows or lengths that do not fit.

  Args:
    size: of a window.
    stride: from one window to the next.
    steps: of the input.
    length: the most that a network takes.
    what: the input and its steps, such as ("audio", "frames").
  """
  name, unit = what
  if not 1 <= stride <= size:
    raise ShapeError(
      f"The patches of {size} {unit} have stride={stride}.",
      "Expected a stride from 1 to `patch`.",
    )
  if steps > length:
    raise ShapeError(
      f"The {name} has {steps} {unit}, more than length={length}.",
      f"Shorten the {name} or use a larger `length`.",
    )


def count(steps: int, size: int, stride: int) -> int:
  """Number of windows that cover an axis; the last may exceed it."""
  return math.ceil(max(steps - size, 0) / stride) + 1


def valid(
  mask: Bool[Array, "B t"], size: int, stride: int
) -> Bool[Array, "B T"]:
  """Windows with a valid step that the window before lacks.

  So the number of valid windows does not depend on the amount of padding.

  Args:
    mask: of size + (T - 1) stride steps.
    size: of a window.
    stride: from one window to the next.
  """
  first = mask[:, :size].any(axis=1)[:, None]
  new = mask[:, size:].reshape(mask.shape[0], -1, stride)
  return jnp.concatenate([first, new.any(axis=2)], axis=1)
