"""Weights of examples against their mean over those that count."""

import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.types import Array


def below_mean(
  weight: Float[Array, "B"], mask: Bool[Array, "B"] | None
) -> Float[Array, "B"]:
  """How far each weight is below the mean of those that the mask shows."""
  if mask is None:
    return jnp.mean(weight) - weight
  count = jnp.maximum(jnp.sum(mask), 1)
  return jnp.sum(jnp.where(mask, weight, 0.0)) / count - weight
