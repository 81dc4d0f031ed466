"""A linear layer for each array with a different width than its target."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import UserError
from kdjax.types import Array


class Head(nn.Module):
  """Maps several arrays to the widths of the arrays on the other side.

  Each array with a different width has its own linear layer.

  Attributes:
    dtype: of the activations; parameters are float32.
  """

  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: tuple[Float[Array, "B *T _"], ...],
    like: tuple[Float[Array, "B *T _"], ...] | None = None,
    *,
    train: bool = False,
  ) -> tuple[Float[Array, "B *T _"], ...]:
    """Maps each array of `x` to the width of its array in `like`."""
    del train
    if like is None or len(like) != len(x):
      raise UserError(
        f"A head 'project' got {len(x)} arrays, and {len(like or ())} on the"
        " other side of its term.",
        "Expected equal numbers.",
      )
    outputs = []
    for index, (part, target) in enumerate(zip(x, like, strict=True)):
      if part.shape[-1] != (width := target.shape[-1]):
        layer = nn.Dense(width, dtype=self.dtype, name=f"part{index}")
        part = layer(part)
      outputs.append(part)
    return tuple(outputs)
