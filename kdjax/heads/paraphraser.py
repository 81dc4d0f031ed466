"""A teacher's map in fewer channels, and back."""

import functools
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import UserError
from kdjax.heads._factors import layers
from kdjax.types import Array


class Head(nn.Module):
  """An autoencoder of maps, whose code is the teacher's factors.

  Three convolutions of size 3 to `share` of the channels, and three back, each
  followed by leaky ReLU of slope 0.1. Kim, Park and Kwak, "Paraphrasing Complex
  Network", NeurIPS 2018, arXiv:1802.04977, Section 3.1. It stands on the
  teacher: first alone, to learn the reconstruction, then still, for the factors
  (see the method 'ft'). Both outputs have the same parameters.

  Attributes:
    output: "reconstruction" or "factors".
    share: channels of the factors, as a share of those of `x`.
    batch_norm: whether BatchNorm stands before every leaky ReLU.
    dtype: of its activations; its parameters are float32.
    axis_name: of the devices whose batch statistics are averaged.
  """

  output: str = "reconstruction"
  share: float = 0.5
  batch_norm: bool = False
  dtype: Any = jnp.float32
  axis_name: str | None = None

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "B H W C"],
    like: Float[Array, "B ..."] | None = None,
    *,
    train: bool = False,
  ) -> Float[Array, "B H W C_out"]:
    """Maps `x` to its factors, or through them to itself."""
    del like
    if self.output not in ("reconstruction", "factors"):
      raise UserError(
        f"No output '{self.output}'.", exists=("reconstruction", "factors")
      )
    norm = functools.partial(
      nn.BatchNorm,
      use_running_average=not train,
      momentum=0.9,
      use_fast_variance=False,
      dtype=self.dtype,
      axis_name=self.axis_name,
    )
    build = functools.partial(
      layers, norm=norm if self.batch_norm else None, dtype=self.dtype
    )
    C = x.shape[-1]
    narrow = max(int(C * self.share), 1)
    factors = build(x, (C, narrow, narrow), "encoder")
    # Built for the factors too: its parameters came with the encoder's.
    back = build(factors, (narrow, C, C), "decoder", kind=nn.ConvTranspose)
    return factors if self.output == "factors" else back
