"""A linear layer over the channels, BatchNorm and, where asked, ReLU."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import UserError
from kdjax.numerics import pooled
from kdjax.types import Array


class Head(nn.Module):
  """Brings a map, or a vector, to the channels of `like`.

  The connector of OFD (Heo et al., ICCV 2019, arXiv:1904.01866) and of SRRL
  (Yang et al., ICLR 2021), which has a ReLU: a convolution of size 1. Where
  `x` is larger than `like` it is average-pooled first; where `like` is the
  larger, a head 'pool' on that side makes it smaller.

  Attributes:
    width: channels of the output; None is those of `like`.
    relu: whether ReLU follows.
    dtype: of its activations; its parameters are float32.
    axis_name: of the devices whose batch statistics are averaged.
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
    """Maps `x` to the channels of `like`, and to its size if that is less."""
    if self.width is None and like is None:
      raise UserError(
        "A head 'connector' has no width and nothing on its other side.",
        "Set its option 'width'.",
      )
    width = like.shape[-1] if self.width is None else self.width
    x = x if like is None else pooled(x, like)
    x = nn.Dense(width, use_bias=False, dtype=self.dtype)(x)
    x = nn.BatchNorm(
      use_running_average=not train,
      momentum=0.9,
      use_fast_variance=False,
      dtype=self.dtype,
      axis_name=self.axis_name,
    )(x)
    return nn.relu(x) if self.relu else x
