"""A linear layer where two sides differ in width, and nothing where not."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import UserError
from kdjax.types import Array


class Head(nn.Module):
  """Several arrays brought to the widths of those of the other side.

  Each that has another width passes a linear layer of its own.

  Attributes:
    dtype: of its activations; its parameters are float32.
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
    """Maps every part of `x` to the width of its fellow in `like`."""
    del train
    if like is None or len(like) != len(x):
      raise UserError(
        f"A head 'project' stands on {len(x)} arrays, and on its other side "
        f"are {len(like or ())}.",
        "They must be as many.",
      )
    made = []
    for place, (part, fellow) in enumerate(zip(x, like, strict=True)):
      if part.shape[-1] != (width := fellow.shape[-1]):
        layer = nn.Dense(width, dtype=self.dtype, name=f"part{place}")
        part = layer(part)
      made.append(part)
    return tuple(made)
