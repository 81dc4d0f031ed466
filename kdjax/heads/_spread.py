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


def unit(x: Float[Array, "B K"]) -> Float[Array, "B K"]:
  """x / |x| in float32; 0, with gradient 0, where x is 0."""
  x = x.astype(jnp.float32)
  square = jnp.sum(x**2, axis=-1, keepdims=True)
  zero = square == 0.0
  return jnp.where(zero, 0.0, x) / jnp.sqrt(jnp.where(zero, 1.0, square))
