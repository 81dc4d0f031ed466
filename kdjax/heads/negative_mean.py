"""OFD's margin, from a batch: the mean negative response per channel."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.types import Array


class Head(nn.Module):
  """OFD's margin for a teacher without BatchNorm.

    margin_c = sum_ihw min(x_ihwc, 0) / (number of negative x_ihwc + eps)

  over all examples of the batch. It has no parameters. Heo et al., "A
  Comprehensive Overhaul of Feature Distillation", ICCV 2019, arXiv:1904.01866,
  Section 3.2, as in Knowledge-Distillation-Zoo.

  Attributes:
    eps: added to the count.
    dtype: no effect; margins are float32.
  """

  gathered = True

  eps: float = 1e-6
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "B *shape C"],
    like: Float[Array, "..."] | None = None,
    *,
    train: bool = False,
    mask: Bool[Array, "B"] | None = None,
  ) -> Float[Array, "C"]:
    """Maps a batch of feature maps to one margin per channel."""
    del like, train
    x = x.astype(jnp.float32)
    negative = x < 0.0
    if mask is not None:
      negative &= mask.reshape(mask.shape + (1,) * (x.ndim - 1))
    axes = tuple(range(x.ndim - 1))
    total = jnp.sum(jnp.where(negative, x, 0.0), axis=axes)
    return total / (jnp.sum(negative, axis=axes) + self.eps)
