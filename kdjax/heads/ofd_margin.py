"""The mean of a channel's negative responses, from its BatchNorm."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax.scipy.stats import norm
from jaxtyping import Float

from kdjax.types import Array


class Head(nn.Module):
  """The margin of OFD: E[x | x < 0] of a normal x, for each channel.

    margin = mean - deviation phi(mean / deviation) / Phi(-mean / deviation)

  where Phi(-mean / deviation) > `rare`, and -3 deviation elsewhere: a channel
  that is hardly ever negative. The mean is BatchNorm's bias, the deviation its
  scale without the sign. It learns nothing.

  Heo et al., "A Comprehensive Overhaul of Feature Distillation", ICCV 2019,
  arXiv:1904.01866, Section 3.2.

  Attributes:
    rare: the probability of a negative response that is too small.
    dtype: has no effect: margins are float32.
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
    # A channel that never varies is never on the other side of its mean.
    constant = deviation == 0.0
    # Beyond 100 deviations nothing changes any more.
    ratio = jnp.clip(mean / jnp.where(constant, 1.0, deviation), -100.0, 100.0)
    log_rare = norm.logcdf(-ratio)
    # phi / Phi as a difference of logarithms: both leave float32.
    inside = mean - deviation * jnp.exp(norm.logpdf(ratio) - log_rare)
    margin = jnp.where(log_rare > jnp.log(self.rare), inside, -3.0 * deviation)
    return jnp.where(constant, jnp.minimum(mean, 0.0), margin)
