"""Batch normalisation of features, without scale and bias."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.types import Array


class Head(nn.Module):
  """BatchNorm without scale and bias, after an optional linear layer.

  SRD (Miles and Mikolajczyk, AAAI 2024, arXiv:2303.11098) has it on both sides,
  with the linear layer on the student's.

  Attributes:
    project: whether to add a linear layer to the width of `like` first.
    epsilon: added to the variance.
    dtype: of the activations; parameters are float32.
    axis_name: the device axis to average batch statistics over.
  """

  project: bool = False
  epsilon: float = 1e-4
  dtype: Any = jnp.float32
  axis_name: str | None = None

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "B *T D"],
    like: Float[Array, "B *T D_like"] | None = None,
    *,
    train: bool = False,
  ) -> Float[Array, "B *T D_out"]:
    """Maps `x` to normalised features."""
    if self.project:
      width = x.shape[-1] if like is None else like.shape[-1]
      x = nn.Dense(width, dtype=self.dtype)(x)
    return nn.BatchNorm(
      use_running_average=not train,
      momentum=0.9,
      use_fast_variance=False,
      epsilon=self.epsilon,
      use_scale=False,
      use_bias=False,
      dtype=self.dtype,
      axis_name=self.axis_name,
    )(x)
