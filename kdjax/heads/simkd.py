"""SimKD's projector, before the teacher's classifier."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.heads._width import width_of
from kdjax.numerics import pool_like
from kdjax.types import Array


class Head(nn.Module):
  """A bottleneck of 1x1, 3x3 and 1x1 convolutions to the channels of `like`.

  Each has BatchNorm and ReLU. The exported student keeps this head: it predicts
  with the teacher's classifier on its output. If `x` is larger than `like`, it
  is average-pooled first; if `like` is larger, add a head 'pool' on that side.

  Chen et al., "Knowledge Distillation with the Reused Teacher Classifier", CVPR
  2022, arXiv:2203.14001, Section 3.2.

  Attributes:
    width: channels of the output; None is those of `like`.
    factor: the ratio of output channels to the bottleneck's channels.
    dtype: of the activations; parameters are float32.
    axis_name: the device axis to average batch statistics over.
  """

  keep = True

  width: int | None = None
  factor: int = 2
  dtype: Any = jnp.float32
  axis_name: str | None = None

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "B H W C"],
    like: Float[Array, "B *shape_like C_like"] | None = None,
    *,
    train: bool = False,
  ) -> Float[Array, "B *shape_out C_out"]:
    """Maps `x` to the channels of `like`, and to its size if smaller."""
    width = width_of("simkd", self.width, like)
    x = x if like is None else pool_like(x, like)
    # If `like` is a vector, so is the pooled `x`: a map of one pixel.
    is_vector = x.ndim == 2
    x = x[:, None, None] if is_vector else x
    inner = max(width // self.factor, 1)
    for channels, kernel in ((inner, 1), (inner, 3), (width, 1)):
      x = nn.Conv(channels, (kernel, kernel), use_bias=False, dtype=self.dtype)(
        x
      )
      x = nn.BatchNorm(
        use_running_average=not train,
        momentum=0.9,
        use_fast_variance=False,
        dtype=self.dtype,
        axis_name=self.axis_name,
      )(x)
      x = nn.relu(x)
    return x[:, 0, 0] if is_vector else x
