"""Batch norm over inputs with padding or missing rows."""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.types import Array


class BatchNorm(nn.Module):
  """Batch norm with statistics over the positions of a mask.

  `nn.BatchNorm` averages the devices' means with equal weights. This layer adds
  sums and counts, so that the statistics do not depend on the number of
  devices. If no position is valid on any device, the running statistics stay.

  Attributes:
    momentum: of the running statistics.
    epsilon: added to the variance.
    axis_name: name of the device axis that shares batch statistics.
    dtype: of the output.
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
    never_empty: bool = False,
  ) -> Float[Array, "B *shape C"]:
    """Normalizes the valid positions; all others become 0.

    Args:
      x: [B C], [B T F C], ..
      mask: True at valid positions, over the leading axes of x: rows [B],
        frames [B T], ..
      train: whether to use and record the batch's statistics.
      never_empty: skips the check for a batch without valid positions.
    """
    shape = (x.shape[-1],)
    running_mean = self.variable("batch_stats", "mean", jnp.zeros, shape)
    running_var = self.variable("batch_stats", "var", jnp.ones, shape)
    scale = self.param("scale", nn.initializers.ones, shape)
    bias = self.param("bias", nn.initializers.zeros, shape)
    mean, var = running_mean.value, running_var.value
    valid = mask.reshape(mask.shape + (1,) * (x.ndim - mask.ndim))
    if train:
      count, mean, var = self._moments(x.astype(jnp.float32), mask, valid)
      if not self.is_initializing():
        for running, batch in ((running_mean, mean), (running_var, var)):
          new = self.momentum * running.value + (1 - self.momentum) * batch
          running.value = (
            new if never_empty else jnp.where(count > 0, new, running.value)
          )
    expand = lambda leaf: leaf.reshape((1,) * (x.ndim - 1) + shape)
    factor = expand(jax.lax.rsqrt(var + self.epsilon) * scale)
    y = (x.astype(jnp.float32) - expand(mean)) * factor + expand(bias)
    return jnp.where(valid, y.astype(self.dtype), 0)

  def _moments(
    self, x, mask, valid
  ) -> tuple[Float[Array, ""], Float[Array, "C"], Float[Array, "C"]]:
    """Count, mean and variance over the valid positions of all devices."""
    shared = self.axis_name is not None and not self.is_initializing()
    psum = lambda leaf: jax.lax.psum(leaf, self.axis_name) if shared else leaf
    axes = tuple(range(x.ndim - 1))
    total = lambda leaf: psum(jnp.sum(jnp.where(valid, leaf, 0), axes))
    per_position = math.prod(x.shape[mask.ndim : -1])
    count = psum(jnp.sum(mask, dtype=jnp.float32)) * per_position
    divisor = jnp.maximum(count, 1)
    mean = total(x) / divisor
    expanded = mean.reshape((1,) * len(axes) + mean.shape)
    return count, mean, total((x - expanded) ** 2) / divisor


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
  """Batch norm with statistics over the present rows of a batch.

  Call it inside an `nn.compact` method. The momentum is 0.9, the epsilon 1e-5.
  In training, the output is 0 in missing rows.

  Args:
    x: the input.
    rows: True at present rows; None, if no row can be missing, is
      `nn.BatchNorm`.
    train: whether to use and record the batch's statistics.
    axis_name: name of the device axis that shares batch statistics.
    dtype: of the output.
    name: of the parameters.
    use_fast_variance: passed to `nn.BatchNorm`.
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
