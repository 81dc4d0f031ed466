"""Gradient reversal: the identity, with a negated gradient."""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.types import Array


@jax.custom_vjp
def reverse_gradient(
  x: Float[Array, "..."], factor: Float[Array, ""]
) -> Float[Array, "..."]:
  """Returns x; its gradient is multiplied by -factor."""
  del factor
  return x


def _forward(x, factor):
  return x, factor


def _backward(factor, gradient):
  return -factor * gradient, jnp.zeros_like(factor)


reverse_gradient.defvjp(_forward, _backward)
