"""VID's Gaussian over the teacher's features."""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import UserError
from kdjax.numerics import pool_like
from kdjax.types import Array


class Head(nn.Module):
  """Predicts the mean of `like`, with a learned variance per channel.

  The mean is three linear layers over the channels (1x1 convolutions without
  biases) with ReLU, of `x` pooled to the size of `like` if smaller. The
  variance is the softplus of a parameter and does not depend on `x`. Ahn et
  al., CVPR 2019, arXiv:1904.05835, Section 3.1.

  Attributes:
    hidden: width of the hidden layers; None is that of `like`.
    variance: the initial variance.
    least_variance: added to the softplus.
    dtype: of the mean; variance and parameters are float32.
  """

  hidden: int | None = None
  variance: float = 5.0
  least_variance: float = 1e-5
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "B *shape D"],
    like: Float[Array, "B *shape_like D_like"] | None = None,
    *,
    train: bool = False,
  ) -> tuple[Float[Array, "B *shape_out D_out"], Float[Array, "D_out"]]:
    """Maps `x` to (mean, variance) of `like`."""
    del train
    if like is None:
      raise UserError(
        "A head 'vid' has no features on the other side of its term.",
        "Add the teacher's features to the term's `reads`.",
      )
    width = like.shape[-1]
    hidden = width if self.hidden is None else self.hidden
    x = pool_like(x, like)
    for size in (hidden, hidden):
      x = nn.relu(nn.Dense(size, use_bias=False, dtype=self.dtype)(x))
    mean = nn.Dense(width, use_bias=False, dtype=self.dtype)(x)
    initial = math.log(math.expm1(self.variance - self.least_variance))
    scale = self.param("log_scale", nn.initializers.constant(initial), (width,))
    return mean, jax.nn.softplus(scale) + self.least_variance
