"""Batch norm of what has padding."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.types import Array


class BatchNorm(nn.Module):
  """`nn.BatchNorm` whose statistics are of the positions that are there.

  flax averages the means of devices, whatever each of them counted; here sums
  and counts are added, so that many devices have the statistics of one.

  Attributes:
    momentum: of the running statistics.
    epsilon: added to the variance.
    axis_name: of the devices that share batch statistics.
    dtype: of what goes out.
  """

  momentum: float = 0.9
  epsilon: float = 1e-5
  axis_name: str | None = None
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "B T F C"],
    mask: Bool[Array, "B T"],
    *,
    train: bool,
  ) -> Float[Array, "B T F C"]:
    """Normalises; what goes out at padding is anything."""
    shape = (x.shape[-1],)
    average = self.variable("batch_stats", "mean", jnp.zeros, shape)
    spread = self.variable("batch_stats", "var", jnp.ones, shape)
    scale = self.param("scale", nn.initializers.ones, shape)
    bias = self.param("bias", nn.initializers.zeros, shape)
    mean, var = average.value, spread.value
    if train:
      mean, var = self._moments(x.astype(jnp.float32), mask)
      if not self.is_initializing():
        for kept, new in ((average, mean), (spread, var)):
          kept.value = self.momentum * kept.value + (1 - self.momentum) * new
    wide = lambda leaf: leaf[None, None, None]
    factor = wide(jax.lax.rsqrt(var + self.epsilon) * scale)
    y = (x.astype(jnp.float32) - wide(mean)) * factor + wide(bias)
    return y.astype(self.dtype)

  def _moments(self, x, mask) -> tuple[Float[Array, "C"], Float[Array, "C"]]:
    """Mean and variance over all positions of all devices."""
    shared = self.axis_name is not None and not self.is_initializing()
    every = lambda leaf: jax.lax.psum(leaf, self.axis_name) if shared else leaf
    there = mask[:, :, None, None]
    total = lambda leaf: every(jnp.sum(jnp.where(there, leaf, 0), (0, 1, 2)))
    count = every(jnp.sum(mask, dtype=jnp.float32)) * x.shape[2]
    count = jnp.maximum(count, 1)
    mean = total(x) / count
    return mean, total((x - mean[None, None, None]) ** 2) / count
