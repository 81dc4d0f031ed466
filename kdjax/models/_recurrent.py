"""Recurrent layers that skip padding."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.errors import UserError
from kdjax.models import _pool
from kdjax.types import Array

CELLS = {"lstm": nn.OptimizedLSTMCell, "gru": nn.GRUCell}
POOLINGS = (*_pool.POOLINGS, "last")


def check(value: str, exists: Any, what: str) -> None:
  """Raises `UserError` unless an option has one of its values."""
  if value not in exists:
    raise UserError(f"No {what} '{value}'.", exists=exists, near=value)


def layer(
  x: Float[Array, "B T E"],
  mask: Bool[Array, "B T"],
  width: int,
  name: str,
  *,
  cell: str = "lstm",
  both: bool = True,
  drop: Callable[[Array], Array] = lambda x: x,
  dtype: Any = jnp.float32,
) -> tuple[Float[Array, "B D"], Float[Array, "B T D"]]:
  """A layer's final state, and its state at every position; 0 at padding.

  Call it inside an `nn.compact` method. It creates the parameters
  <name>_forward and, with `both`, <name>_backward. At padding, anywhere in the
  sequence, states do not change.

  Args:
    x: the input.
    mask: True at valid positions.
    width: of one direction's state.
    name: of the layer.
    cell: one of `CELLS`.
    both: whether it reads in both directions; D is 2 width, forward first.
    drop: dropout of the input, drawn anew for each direction.
    dtype: of activations; the states are float32.
  """
  cell_of = lambda side: CELLS[cell](width, dtype=dtype, name=f"{name}_{side}")
  sides = [
    _read(cell_of(side), drop(x), mask, side)
    for side in ("forward", "backward")[: 1 + both]
  ]
  last, states = (
    jnp.concatenate(some, -1) for some in zip(*sides, strict=True)
  )
  return last, states


def pool(
  x: Float[Array, "B T D"],
  mask: Bool[Array, "B T"],
  last: Float[Array, "B D"],
  pooling: str,
) -> Float[Array, "B D"]:
  """The embedding, by one of `POOLINGS`.

  Args:
    x: the last layer's states.
    mask: True at valid positions.
    last: the last layer's final state.
    pooling: "max" or "mean" over valid positions, or "last".
  """
  return last if pooling == "last" else _pool.POOLINGS[pooling](x, mask)


def _read(
  cell: nn.Module, x: Array, mask: Array, side: str
) -> tuple[Float[Array, "B D"], Float[Array, "B T D"]]:
  """One direction's final state and its state at every position."""
  zero = jnp.zeros((x.shape[0], cell.features), jnp.float32)
  start = (zero, zero) if isinstance(cell, CELLS["lstm"]) else zero

  def step(cell, state, x, mask):
    mask = mask[:, None]
    new_state, output = cell(state, x)
    keep = lambda new, old: jnp.where(mask, new, old).astype(old.dtype)
    state = jax.tree.map(keep, new_state, state)
    return state, jnp.where(mask, output, 0).astype(cell.dtype)

  scan = nn.scan(
    step,
    variable_broadcast="params",
    split_rngs={"params": False},
    in_axes=1,
    out_axes=1,
    reverse=side == "backward",
  )
  state, outputs = scan(cell, start, x, mask)
  return jax.tree.leaves(state)[-1], outputs
