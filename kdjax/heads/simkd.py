"""The projector of SimKD, in front of the teacher's classifier."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import UserError
from kdjax.numerics import pooled
from kdjax.types import Array


class Head(nn.Module):
  """A bottleneck of convolutions 1, 3 and 1 to the channels of `like`.

  Each with BatchNorm and ReLU, the inner ones a `factor` narrower. The student
  keeps it: it predicts by the teacher's classifier on what comes out. Where `x`
  is larger than `like` it is average-pooled first; where `like` is the larger,
  a head 'pool' on that side makes it smaller.

  Chen et al., "Knowledge Distillation with the Reused Teacher Classifier", CVPR
  2022, arXiv:2203.14001, Section 3.2.

  Attributes:
    width: channels of the output; None is those of `like`.
    factor: by which the bottleneck is narrower.
    dtype: of its activations; its parameters are float32.
    axis_name: of the devices whose batch statistics are averaged.
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
    """Maps `x` to the channels of `like`, and to its size if that is less."""
    if self.width is None and like is None:
      raise UserError(
        "A head 'simkd' has no width and nothing on its other side.",
        "Set its option 'width'.",
      )
    width = like.shape[-1] if self.width is None else self.width
    x = x if like is None else pooled(x, like)
    # A vector on the other side is a map of one pixel.
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
