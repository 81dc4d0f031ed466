"""One small network over several views of a batch."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.types import Array


class Head(nn.Module):
  """Two linear layers with ReLU between them, the same for every view.

  The projection of SSKD (Xu et al., "Knowledge Distillation Meets
  Self-Supervision", ECCV 2020, arXiv:2006.07114).

  Attributes:
    features: how wide both layers are; None is as wide as the views.
    dtype: of its activations; its parameters are float32.
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
    """Maps every view; the other side of the term does not matter."""
    del like, train
    width = self.features or x[0].shape[-1]
    joined = nn.relu(nn.Dense(width, dtype=self.dtype)(jnp.concatenate(x)))
    joined = nn.Dense(width, dtype=self.dtype)(joined)
    return tuple(jnp.split(joined, len(x)))
