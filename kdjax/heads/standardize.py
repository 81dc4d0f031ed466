"""Standardisation of logits to mean 0 and standard deviation 1."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.numerics import class_share, present_classes, without_excluded
from kdjax.types import Array


class Head(nn.Module):
  """Standardises the logits of each example.

    z_k = (x_k - mean(x)) / (std(x) + epsilon)

  with K - 1 degrees of freedom. It has no parameters. On both sides of a term,
  it makes the loss independent of the scale and shift of the logits. Equal
  logits become 0, with gradient 0.

  Sun et al., "Logit Standardization in Knowledge Distillation", CVPR 2024,
  arXiv:2403.01427, Algorithm 1.

  Attributes:
    epsilon: added to the deviation.
    dtype: no effect; logits are standardised in float32.
  """

  epsilon: float = 1e-7
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "B *T K"],
    like: Float[Array, "B *T K_like"] | None = None,
    *,
    train: bool = False,
  ) -> Float[Array, "B *T K"]:
    """Standardises over the last axis."""
    del like, train
    x = x.astype(jnp.float32)
    present = present_classes(x)
    mean = jnp.mean(without_excluded(x), axis=-1) * class_share(present)
    x = jnp.where(present, x - mean[..., None], 0.0)
    square = jnp.sum(x**2, axis=-1, keepdims=True)
    variance = square / max(x.shape[-1] - 1, 1)
    variance *= class_share(present, left_out=1)[..., None]
    # Both branches of `where` are finite: the root's gradient at 0 is not.
    equal = variance == 0.0
    deviation = jnp.where(equal, 0.0, jnp.sqrt(jnp.where(equal, 1.0, variance)))
    return jnp.where(present, x / (deviation + self.epsilon), -jnp.inf)
