"""A linear layer."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.heads._width import width_of
from kdjax.types import Array


class Head(nn.Module):
  """A linear layer over the last axis, to the width of the other side.

  Attributes:
    width: of the output; None is that of `like`, or of its first array.
    use_bias: whether to add a bias.
    dtype: of the activations; parameters are float32.
  """

  width: int | None = None
  use_bias: bool = True
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "B *T D"],
    like: (
      Float[Array, "B *T D_like"]
      | tuple[Float[Array, "B *T D_like"], ...]
      | None
    ) = None,
    *,
    train: bool = False,
  ) -> Float[Array, "B *T D_out"]:
    """Maps `x` to the width of `like`."""
    del train
    like = like[0] if isinstance(like, tuple) else like
    width = width_of("linear", self.width, like)
    return nn.Dense(width, use_bias=self.use_bias, dtype=self.dtype)(x)
