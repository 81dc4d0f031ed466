"""A multilayer perceptron."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import UserError
from kdjax.heads._width import width_of
from kdjax.types import Array


class Head(nn.Module):
  """Linear layers with ReLU over the last axis, to the other side's width.

  Attributes:
    width: of the output; None is that of `like`.
    hidden: width of the hidden layers; None is that of `x`.
    layers: the number of linear layers; 1 is a head 'linear'.
    dtype: of the activations; parameters are float32.
  """

  width: int | None = None
  hidden: int | None = None
  layers: int = 2
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "B *T D"],
    like: Float[Array, "B *T D_like"] | None = None,
    *,
    train: bool = False,
  ) -> Float[Array, "B *T D_out"]:
    """Maps `x` to the width of `like`."""
    del train
    if self.layers < 1:
      raise UserError(
        f"A head 'mlp' has {self.layers} layers.", "Expected 1 or more."
      )
    width = width_of("mlp", self.width, like)
    hidden = x.shape[-1] if self.hidden is None else self.hidden
    for _ in range(self.layers - 1):
      x = nn.relu(nn.Dense(hidden, dtype=self.dtype)(x))
    return nn.Dense(width, dtype=self.dtype)(x)
