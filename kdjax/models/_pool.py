"""Pooling over the positions of a mask."""

import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.types import Array


def mean(
  x: Float[Array, "B T D"], mask: Bool[Array, "B T"]
) -> Float[Array, "B D"]:
  """The mean over valid positions, in float32; 0 without any."""
  count = jnp.maximum(jnp.sum(mask, axis=1, dtype=jnp.float32), 1)
  x = jnp.where(mask[..., None], x.astype(jnp.float32), 0)
  return jnp.sum(x, axis=1) / count[:, None]


def maximum(
  x: Float[Array, "B T D"], mask: Bool[Array, "B T"]
) -> Float[Array, "B D"]:
  """The maximum over valid positions, in float32; 0 without any."""
  # A finite floor keeps gradients finite.
  x = jnp.where(mask[..., None], x.astype(jnp.float32), -1e30)
  return jnp.where(mask.any(axis=1)[:, None], jnp.max(x, axis=1), 0)


POOLINGS = {"mean": mean, "max": maximum}
