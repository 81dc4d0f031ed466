"""One vector of many, blind to padding."""

import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.types import Array


def mean(
  x: Float[Array, "B T D"], mask: Bool[Array, "B T"]
) -> Float[Array, "B D"]:
  """The mean over what is there, in float32; 0 where nothing is."""
  count = jnp.maximum(jnp.sum(mask, axis=1, dtype=jnp.float32), 1)
  x = jnp.where(mask[..., None], x.astype(jnp.float32), 0)
  return jnp.sum(x, axis=1) / count[:, None]


def greatest(
  x: Float[Array, "B T D"], mask: Bool[Array, "B T"]
) -> Float[Array, "B D"]:
  """The greatest value over what is there, in float32; 0 where nothing is."""
  # A finite floor: no gradient meets an infinity.
  x = jnp.where(mask[..., None], x.astype(jnp.float32), -1e30)
  return jnp.where(mask.any(axis=1)[:, None], jnp.max(x, axis=1), 0)


POOLINGS = {"mean": mean, "max": greatest}
