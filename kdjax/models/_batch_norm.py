"""Batch norm of what has padding, or rows that are not there."""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.types import Array


class BatchNorm(nn.Module):
  """`nn.BatchNorm` whose statistics are of the positions that are there.

  flax averages the means of devices, whatever each of them counted; here sums
  and counts are added, so that many devices have the statistics of one. Where
  nothing is there on any device, the running statistics stay.

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
    x: Float[Array, "B *shape C"],
    mask: Bool[Array, "B *some"],
    *,
    train: bool,
    always: bool = False,
  ) -> Float[Array, "B *shape C"]:
    """Normalises what is there, and is 0 elsewhere.

    Args:
      x: [B C], [B T F C], ..
      mask: of the leading axes of x: of rows [B], of frames [B T], ..
      train: whether the statistics are those of the batch.
      always: whether something is there in every batch, which is then not
        looked at.
    """
    shape = (x.shape[-1],)
    average = self.variable("batch_stats", "mean", jnp.zeros, shape)
    spread = self.variable("batch_stats", "var", jnp.ones, shape)
    scale = self.param("scale", nn.initializers.ones, shape)
    bias = self.param("bias", nn.initializers.zeros, shape)
    mean, var = average.value, spread.value
    there = mask.reshape(mask.shape + (1,) * (x.ndim - mask.ndim))
    if train:
      count, mean, var = self._moments(x.astype(jnp.float32), mask, there)
      if not self.is_initializing():
        for kept, new in ((average, mean), (spread, var)):
          moved = self.momentum * kept.value + (1 - self.momentum) * new
          kept.value = (
            moved if always else jnp.where(count > 0, moved, kept.value)
          )
    wide = lambda leaf: leaf.reshape((1,) * (x.ndim - 1) + shape)
    factor = wide(jax.lax.rsqrt(var + self.epsilon) * scale)
    y = (x.astype(jnp.float32) - wide(mean)) * factor + wide(bias)
    return jnp.where(there, y.astype(self.dtype), 0)

  def _moments(
    self, x, mask, there
  ) -> tuple[Float[Array, ""], Float[Array, "C"], Float[Array, "C"]]:
    """Count, mean and variance of all positions of all devices."""
    shared = self.axis_name is not None and not self.is_initializing()
    every = lambda leaf: jax.lax.psum(leaf, self.axis_name) if shared else leaf
    over = tuple(range(x.ndim - 1))
    total = lambda leaf: every(jnp.sum(jnp.where(there, leaf, 0), over))
    each = math.prod(x.shape[mask.ndim : -1])
    count = every(jnp.sum(mask, dtype=jnp.float32)) * each
    some = jnp.maximum(count, 1)
    mean = total(x) / some
    wide = mean.reshape((1,) * len(over) + mean.shape)
    return count, mean, total((x - wide) ** 2) / some


def over_rows(
  x: Float[Array, "B *shape C"],
  rows: Bool[Array, "B"] | None,
  *,
  train: bool,
  axis_name: str | None,
  dtype: Any,
  name: str,
  use_fast_variance: bool = False,
) -> Float[Array, "B *shape C"]:
  """`nn.BatchNorm`, in training of the rows that are there.

  Called inside of an `nn.compact` method; keeps 0.9 of the running statistics
  and adds 1e-5 to the variance. In training it is 0 in rows that are not there.

  Args:
    x: what comes in.
    rows: which are there; None, where none can be missing, is flax's own.
    train: whether the statistics are those of the batch.
    axis_name: of the devices that share batch statistics.
    dtype: of what goes out.
    name: of the parameters.
    use_fast_variance: of flax's own.
  """
  if train and rows is not None:
    norm = BatchNorm(axis_name=axis_name, dtype=dtype, name=name)
    return norm(x, rows, train=True)
  return nn.BatchNorm(
    use_running_average=not train,
    momentum=0.9,
    epsilon=1e-5,
    use_fast_variance=use_fast_variance,
    axis_name=axis_name,
    dtype=dtype,
    name=name,
  )(x)
