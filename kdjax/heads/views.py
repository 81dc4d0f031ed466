"""A perceptron shared by several views of a batch."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.types import Array


class Head(nn.Module):
  """Two linear layers with ReLU, shared by all views.

  The projection of SSKD (Xu et al., "Knowledge Distillation Meets
  Self-Supervision", ECCV 2020, arXiv:2006.07114).

  Attributes:
    features: width of both layers; None is that of the views.
    dtype: of the activations; parameters are float32.
  """

  features: int | None = None
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: tuple[Float[Array, "B D"], ...],
    like: tuple[Float[Array, "B D_like"], ...] | None = None,
    *,
    train: bool = False,
  ) -> tuple[Float[Array, "B D_out"], ...]:
    """Maps each view of `x`; `like` is ignored."""
    del like, train
    width = self.features or x[0].shape[-1]
    joined = nn.relu(nn.Dense(width, dtype=self.dtype)(jnp.concatenate(x)))
    joined = nn.Dense(width, dtype=self.dtype)(joined)
    return tuple(jnp.split(joined, len(x)))
