"""A classifier on feature maps, tokens or embeddings."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.heads._width import width_of
from kdjax.types import Array


class Head(nn.Module):
  """Global mean, linear layer, BatchNorm, leaky ReLU, linear layer to logits.

  The proxy of C2KD (Huo et al., CVPR 2024), which has a 1x1 convolution as its
  first layer: a linear layer after the mean is the same. It is also the
  classifier on early layers in self-distillation.

  Attributes:
    num_classes: the number of classes; None is the width of `like`, logits.
    hidden: width of the first layer; None is that of `x`.
    slope: of the leaky ReLU below 0.
    dtype: of the activations; parameters are float32.
    axis_name: the device axis to average batch statistics over.
  """

  num_classes: int | None = None
  hidden: int | None = None
  slope: float = 0.1
  dtype: Any = jnp.float32
  axis_name: str | None = None

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "B *T D"],
    like: Float[Array, "B *T_like D_like"] | None = None,
    *,
    train: bool = False,
  ) -> Float[Array, "B K"]:
    """Logits of maps [B H W C], tokens [B T D] or embeddings [B D]."""
    width = width_of("proxy", self.num_classes, like, "num_classes")
    hidden = x.shape[-1] if self.hidden is None else self.hidden
    x = jnp.mean(x.astype(jnp.float32), axis=tuple(range(1, x.ndim - 1)))
    x = nn.Dense(hidden, use_bias=False, dtype=self.dtype)(x)
    x = nn.BatchNorm(
      use_running_average=not train,
      momentum=0.9,
      use_fast_variance=False,
      dtype=self.dtype,
      axis_name=self.axis_name,
    )(x)
    return nn.Dense(width, dtype=self.dtype)(nn.leaky_relu(x, self.slope))
