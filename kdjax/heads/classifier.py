"""A classifier that is given, on a feature that is not its own."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.types import Array


class Head(nn.Module):
  """The logits of a given linear layer; a map, or tokens, are pooled first.

    logits = mean_hw(feature) kernel + bias

  It learns nothing: kernel and bias are read, as `teacher/params/head/kernel`.
  The teacher's classifier on the student's projected feature is what SimKD
  predicts by (Chen et al., CVPR 2022, arXiv:2203.14001), and what SRRL compares
  with the teacher's logits (Yang et al., ICLR 2021).

  Attributes:
    dtype: of the logits.
  """

  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: tuple[
      Float[Array, "B *shape D"], Float[Array, "D K"], Float[Array, "K"]
    ],
    like: Float[Array, "..."] | None = None,
    *,
    train: bool = False,
  ) -> Float[Array, "B K"]:
    """Maps (feature, kernel, bias) to logits."""
    del like, train
    feature, kernel, bias = (part.astype(self.dtype) for part in x)
    feature = jnp.mean(feature, axis=tuple(range(1, feature.ndim - 1)))
    exact = jax.lax.Precision.HIGHEST
    return jnp.matmul(feature, kernel, precision=exact) + bias[None]
