"""Powers and p-norms with finite gradients at zero, for any exponent."""

import jax.numpy as jnp
from jaxtyping import Float

from kdjax.types import Array


def abs_power(
  x: Float[Array, "..."], exponent: float, signed: bool = False
) -> Float[Array, "..."]:
  """|x|^exponent; if signed, x^exponent with an integer exponent."""
  x = x.astype(jnp.float32)
  if signed:
    return x**exponent
  zero = x == 0.0
  # Both branches of `where` must be finite: JAX computes the gradient of both,
  # and 0 times infinity is NaN.
  absolute = jnp.where(zero, 1.0, x * jnp.sign(x))
  return jnp.where(zero, 0.0, absolute**exponent)


def p_norm(x: Float[Array, "B N"], order: float) -> Float[Array, "B"]:
  """(sum |x|^order)^(1/order) of each row; gradient 0 where it is 0."""
  total = jnp.sum(abs_power(x, order), axis=-1)
  zero = total == 0.0
  return jnp.where(zero, 0.0, jnp.where(zero, 1.0, total) ** (1.0 / order))


def normalize(
  x: Float[Array, "B N"], order: float = 2.0, eps: float = 0.0
) -> Float[Array, "B N"]:
  """Each row divided by its norm + eps; 0, with gradient 0, where it is 0."""
  length = p_norm(x, order)
  zero = length == 0.0
  scale = jnp.where(zero, 1.0, length) + eps
  return jnp.where(zero[:, None], 0.0, x) / scale[:, None]
