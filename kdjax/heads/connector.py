"""A linear layer over the channels, BatchNorm and optional ReLU."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.heads._width import width_of
from kdjax.numerics import pool_like
from kdjax.types import Array


class Head(nn.Module):
  """Maps a feature map or vector to the channels of `like`.

  The connector of OFD (Heo et al., ICCV 2019, arXiv:1904.01866) and SRRL (Yang
  et al., ICLR 2021; with ReLU): a 1x1 convolution. If `x` is larger than
  `like`, it is average-pooled first; if `like` is larger, add a head 'pool' on
  that side.

  Attributes:
    width: channels of the output; None is those of `like`.
    relu: whether to add a ReLU.
    dtype: of the activations; parameters are float32.
    axis_name: the device axis to average batch statistics over.
  """

  width: int | None = None
  relu: bool = False
  dtype: Any = jnp.float32
  axis_name: str | None = None

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "B *shape D"],
    like: Float[Array, "B *shape_like D_like"] | None = None,
    *,
    train: bool = False,
  ) -> Float[Array, "B *shape_out D_out"]:
    """Maps `x` to the channels of `like`, and to its size if smaller."""
    width = width_of("connector", self.width, like)
    x = x if like is None else pool_like(x, like)
    x = nn.Dense(width, use_bias=False, dtype=self.dtype)(x)
    x = nn.BatchNorm(
      use_running_average=not train,
      momentum=0.9,
      use_fast_variance=False,
      dtype=self.dtype,
      axis_name=self.axis_name,
    )(x)
    return nn.relu(x) if self.relu else x
