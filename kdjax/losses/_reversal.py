"""What learns the opposite of what it is told."""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.types import Array


@jax.custom_vjp
def reversed_gradient(
  x: Float[Array, "..."], factor: Float[Array, ""]
) -> Float[Array, "..."]:
  """x itself, whose gradient is multiplied by -factor."""
  del factor
  return x


def _forward(x, factor):
  return x, factor


def _backward(factor, gradient):
  return -factor * gradient, jnp.zeros_like(factor)


reversed_gradient.defvjp(_forward, _backward)
