"""Powers and p-norms whose gradients are finite at zero, for any exponent."""

import jax.numpy as jnp
from jaxtyping import Float

from kdjax.types import Array


def power(
  x: Float[Array, "..."], exponent: float, signed: bool = False
) -> Float[Array, "..."]:
  """|x|^exponent; signed: x^exponent, of an exponent that is whole."""
  x = x.astype(jnp.float32)
  if signed:
    return x**exponent
  zero = x == 0.0
  # Both sides are safe: the gradient of the side not taken is computed too,
  # and 0 times infinity is no 0.
  size = jnp.where(zero, 1.0, x * jnp.sign(x))
  return jnp.where(zero, 0.0, size**exponent)


def norm(x: Float[Array, "B N"], order: float) -> Float[Array, "B"]:
  """(sum |x|^order)^(1/order) of every row; gradient 0 where it is 0."""
  total = jnp.sum(power(x, order), axis=-1)
  zero = total == 0.0
  return jnp.where(zero, 0.0, jnp.where(zero, 1.0, total) ** (1.0 / order))


def unit(
  x: Float[Array, "B N"], order: float = 2.0, eps: float = 0.0
) -> Float[Array, "B N"]:
  """Every row over its norm + eps; 0, with gradient 0, where it is 0."""
  length = norm(x, order)
  zero = length == 0.0
  scale = jnp.where(zero, 1.0, length) + eps
  return jnp.where(zero[:, None], 0.0, x) / scale[:, None]
