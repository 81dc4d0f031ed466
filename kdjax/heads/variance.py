"""PAD's features with predicted log-variances."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.heads._width import width_of
from kdjax.types import Array


class Head(nn.Module):
  """The mean and log-variance of a feature.

  The mean is the feature if it is as wide as `like`, else a linear layer of it.
  The log-variance is a linear layer with BatchNorm, as in torchdistill's PAD
  (Zhang et al., ECCV 2020, arXiv:2008.01458).

  Attributes:
    width: of the output; None is that of `like`.
    dtype: of the activations; parameters are float32.
    axis_name: the device axis to average batch statistics over.
  """

  width: int | None = None
  dtype: Any = jnp.float32
  axis_name: str | None = None

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "B *T D"],
    like: Float[Array, "B *T D_like"] | None = None,
    *,
    train: bool = False,
  ) -> tuple[Float[Array, "B *T D_out"], Float[Array, "B *T D_out"]]:
    """Maps `x` to (mean, log-variance)."""
    width = width_of("variance", self.width, like)
    log_variance = nn.Dense(width, dtype=self.dtype, name="variance")(x)
    log_variance = nn.BatchNorm(
      use_running_average=not train,
      momentum=0.9,
      use_fast_variance=False,
      dtype=self.dtype,
      axis_name=self.axis_name,
    )(log_variance)
    mean = x.astype(self.dtype)
    if x.shape[-1] != width:
      mean = nn.Dense(width, dtype=self.dtype, name="mean")(x)
    return mean, log_variance
