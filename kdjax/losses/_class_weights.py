"""Class weights from an option, and class counts to derive them from."""

import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import ShapeError
from kdjax.types import Array


def class_weights_or_ones(
  weights: tuple | None, K: int, option: str = "class weights"
) -> Float[Array, "K"]:
  """The weights of an option; all 1 if it is None."""
  if weights is None:
    return jnp.ones(K, jnp.float32)
  if len(weights) != K:
    raise ShapeError(
      f"The loss got {len(weights)} {option} for {K} classes.",
      f"Expected {K}, one per class.",
    )
  return jnp.asarray(weights, jnp.float32)


def class_counts(counts: Float[Array, "K"], K: int) -> Float[Array, "K"]:
  """The number of examples of each class, at least 1."""
  if counts.shape != (K,):
    raise ShapeError(
      f"The counts are {list(counts.shape)} for {K} classes.",
      f"Expected shape [{K}].",
    )
  return jnp.maximum(counts.astype(jnp.float32), 1.0)
