"""Relations of the rows of a batch, without the rows that a mask hides."""

import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.numerics import flat
from kdjax.types import Array


def shown(x: Array, mask: Bool[Array, "B"] | None) -> Bool[Array, "B"]:
  """The mask, or all rows where there is none."""
  return jnp.ones(x.shape[0], bool) if mask is None else mask


def rows(
  x: Float[Array, "B ..."], mask: Bool[Array, "B"]
) -> Float[Array, "B N"]:
  """Every example as one row in float32; 0 where it is hidden.

  Replaced, not multiplied: what is hidden may not be finite.
  """
  return jnp.where(mask[:, None], flat(x), 0.0)


def count(mask: Bool[Array, "B"]) -> Float[Array, ""]:
  """The number of rows that count, at least 1."""
  return jnp.maximum(jnp.sum(mask, dtype=jnp.float32), 1.0)


def pairs(mask: Bool[Array, "B"]) -> Bool[Array, "B B"]:
  """Pairs of two rows that count; a row is also paired with itself."""
  return mask[:, None] & mask[None]


def squares(
  x: Float[Array, "B D"], mask: Bool[Array, "B"], eps: float
) -> Float[Array, "B B"]:
  """Squared distances of rows, at least eps between two that count.

  0, with gradient 0, between a row and itself, and where one is hidden.
  """
  # Of differences: in float32 |x|^2 + |y|^2 - 2 x y loses close rows.
  square = jnp.sum((x[:, None] - x[None]) ** 2, axis=-1)
  far = square > eps
  others = pairs(mask) & ~jnp.eye(x.shape[0], dtype=bool)
  return jnp.where(others & far, square, jnp.where(others, eps, 0.0))


def over(
  x: Float[Array, "..."], scale: Float[Array, ""]
) -> Float[Array, "..."]:
  """x / scale, and 0, with gradient 0, where the scale is 0."""
  zero = scale == 0.0
  return jnp.where(zero, 0.0, x) / jnp.where(zero, 1.0, scale)


def smooth_l1(x: Float[Array, "..."]) -> Float[Array, "..."]:
  """x^2 / 2 up to 1, |x| - 1/2 beyond."""
  near = jnp.clip(x, -1.0, 1.0)
  return near * (x - 0.5 * near)
