"""A Gaussian over the teacher's features."""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import UserError
from kdjax.numerics import pooled
from kdjax.types import Array


class Head(nn.Module):
  """Predicts the mean of `like`, and has a variance for each channel of it.

  The mean is three linear layers over the channels (convolutions of size 1,
  without biases) with ReLU between them, of `x` pooled to the size of `like`
  if that is smaller. The variance is softplus of a parameter; it does not
  depend on `x`. Ahn et al., CVPR 2019, arXiv:1904.05835, Section 3.1.

  Attributes:
    hidden: width between the layers; None is that of `like`.
    variance: at the start.
    least_variance: added to the softplus.
    dtype: of the mean; the variance and the parameters are float32.
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
      raise UserError("A head 'vid' has nothing on its other side.")
    width = like.shape[-1]
    hidden = width if self.hidden is None else self.hidden
    x = pooled(x, like)
    for size in (hidden, hidden):
      x = nn.relu(nn.Dense(size, use_bias=False, dtype=self.dtype)(x))
    mean = nn.Dense(width, use_bias=False, dtype=self.dtype)(x)
    start = math.log(math.expm1(self.variance - self.least_variance))
    scale = self.param("log_scale", nn.initializers.constant(start), (width,))
    return mean, jax.nn.softplus(scale) + self.least_variance
