"""Weights of examples, relative to their mean over the valid ones."""

import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.types import Array


def below_mean(
  weight: Float[Array, "B"], mask: Bool[Array, "B"] | None
) -> Float[Array, "B"]:
  """The mean of the valid weights minus each weight."""
  if mask is None:
    return jnp.mean(weight) - weight
  count = jnp.maximum(jnp.sum(mask), 1)
  return jnp.sum(jnp.where(mask, weight, 0.0)) / count - weight
