"""One number a class: written in a config, or made of how often it occurs."""

import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import ShapeError
from kdjax.types import Array


def of_classes(
  weights: tuple | None, K: int, what: str = "class weights"
) -> Float[Array, "K"]:
  """The weights that an option gives, all 1 where it gives none."""
  if weights is None:
    return jnp.ones(K, jnp.float32)
  if len(weights) != K:
    raise ShapeError(
      f"There are {len(weights)} {what} for {K} classes.",
      "They must be as many.",
    )
  return jnp.asarray(weights, jnp.float32)


def counted(counts: Float[Array, "K"], K: int) -> Float[Array, "K"]:
  """How often each class occurs; once where it never does."""
  if counts.shape != (K,):
    raise ShapeError(
      f"The counts are {list(counts.shape)} for {K} classes.",
      f"They must be [{K}].",
    )
  return jnp.maximum(counts.astype(jnp.float32), 1.0)
