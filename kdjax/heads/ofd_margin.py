"""OFD's margin, from BatchNorm: the mean negative response per channel."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax.scipy.stats import norm
from jaxtyping import Float

from kdjax.types import Array


class Head(nn.Module):
  """OFD's margin: E[x | x < 0] of a Gaussian x, per channel.

    margin = mean - deviation phi(mean / deviation) / Phi(-mean / deviation)

  where Phi(-mean / deviation) > `rare`. For other channels, which are rarely
  negative, the margin is -3 deviation. The mean is BatchNorm's bias, the
  deviation the absolute value of its scale. It has no parameters.

  Heo et al., "A Comprehensive Overhaul of Feature Distillation", ICCV 2019,
  arXiv:1904.01866, Section 3.2.

  Attributes:
    rare: channels with at most this probability of a negative response have the
      margin -3 deviation.
    dtype: no effect; margins are float32.
  """

  rare: float = 0.001
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: tuple[Float[Array, "C"], Float[Array, "C"]],
    like: Float[Array, "..."] | None = None,
    *,
    train: bool = False,
  ) -> Float[Array, "C"]:
    """Maps a BatchNorm's scale and bias to margins."""
    del like, train
    scale, mean = (part.astype(jnp.float32) for part in x)
    deviation = jnp.abs(scale)
    # A constant channel is handled separately: the ratio is not defined.
    constant = deviation == 0.0
    # Beyond 100 deviations the margin does not change.
    ratio = jnp.clip(mean / jnp.where(constant, 1.0, deviation), -100.0, 100.0)
    log_rare = norm.logcdf(-ratio)
    # phi / Phi from logarithms, because both underflow in float32.
    inside = mean - deviation * jnp.exp(norm.logpdf(ratio) - log_rare)
    margin = jnp.where(log_rare > jnp.log(self.rare), inside, -3.0 * deviation)
    return jnp.where(constant, jnp.minimum(mean, 0.0), margin)
