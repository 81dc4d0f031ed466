"""Lengths, directions and distances whose gradients are finite at zero."""

import jax.numpy as jnp
from jaxtyping import Float

from kdjax.types import Array


def root(x: Float[Array, "..."]) -> Float[Array, "..."]:
  """The square root; 0, with gradient 0, where x is 0 or less."""
  zero = x <= 0.0
  # Both sides are safe: the gradient of the side not taken is computed too,
  # and 0 times infinity is no 0.
  return jnp.where(zero, 0.0, jnp.sqrt(jnp.where(zero, 1.0, x)))


def unit(
  x: Float[Array, "..."], axis: int | tuple[int, ...] = -1
) -> Float[Array, "..."]:
  """x / |x| in float32 over an axis; 0, with gradient 0, where x is 0."""
  x = x.astype(jnp.float32)
  square = jnp.sum(x**2, axis=axis, keepdims=True)
  zero = square == 0.0
  return jnp.where(zero, 0.0, x) / jnp.sqrt(jnp.where(zero, 1.0, square))


def magnitude(x: Float[Array, "..."]) -> Float[Array, "..."]:
  """|x|, with gradient 0, not 1, where x is 0."""
  return x * jnp.sign(x)


def flat(x: Float[Array, "B ..."]) -> Float[Array, "B N"]:
  """Every example as one row, in float32."""
  return x.astype(jnp.float32).reshape(x.shape[0], -1)


def distances(x: Float[Array, "B D"]) -> Float[Array, "B B"]:
  """Euclidean distances of all pairs of rows; gradient 0 where rows meet."""
  difference = x[:, None] - x[None]
  return root(jnp.sum(difference**2, axis=-1))
