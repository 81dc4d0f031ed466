"""Factor transfer's paraphraser: an autoencoder of the teacher's maps."""

import functools
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import UserError
from kdjax.heads._factors import conv_layers
from kdjax.types import Array


class Head(nn.Module):
  """An autoencoder of feature maps; its code is the teacher's factors.

  Three 3x3 convolutions to `share` of the channels, and three back, each with a
  leaky ReLU of slope 0.1. Kim, Park and Kwak, "Paraphrasing Complex Network",
  NeurIPS 2018, arXiv:1802.04977, Section 3.1. It is applied to the teacher,
  first trained for the reconstruction, then frozen for the factors (see the
  method 'ft'). Both outputs have the same parameters.

  Attributes:
    output: "reconstruction" or "factors".
    share: channels of the factors, as a fraction of those of `x`.
    batch_norm: whether to add BatchNorm before each leaky ReLU.
    dtype: of the activations; parameters are float32.
    axis_name: the device axis to average batch statistics over.
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
    """Maps `x` to its factors or to its reconstruction."""
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
      conv_layers, norm=norm if self.batch_norm else None, dtype=self.dtype
    )
    C = x.shape[-1]
    narrow = max(int(C * self.share), 1)
    factors = build(x, (C, narrow, narrow), "encoder")
    # Also built for the factors, so that both outputs have all parameters.
    decoded = build(factors, (narrow, C, C), "decoder", kind=nn.ConvTranspose)
    return factors if self.output == "factors" else decoded
