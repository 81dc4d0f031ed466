"""Pairwise relations between the valid rows of a batch."""

import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.numerics import flatten_rows
from kdjax.types import Array


def default_mask(x: Array, mask: Bool[Array, "B"] | None) -> Bool[Array, "B"]:
  """The mask, or all True without one."""
  return jnp.ones(x.shape[0], bool) if mask is None else mask


def masked_rows(
  x: Float[Array, "B ..."], mask: Bool[Array, "B"]
) -> Float[Array, "B N"]:
  """Flattens each example to one row in float32; masked rows become 0.

  Masked rows are replaced, not multiplied by 0, because they may be non-finite.
  """
  return jnp.where(mask[:, None], flatten_rows(x), 0.0)


def valid_count(mask: Bool[Array, "B"]) -> Float[Array, ""]:
  """The number of valid rows, at least 1."""
  return jnp.maximum(jnp.sum(mask, dtype=jnp.float32), 1.0)


def pair_mask(mask: Bool[Array, "B"]) -> Bool[Array, "B B"]:
  """True for pairs of valid rows, including a row with itself."""
  return mask[:, None] & mask[None]


def squared_distances(
  x: Float[Array, "B D"], mask: Bool[Array, "B"], eps: float
) -> Float[Array, "B B"]:
  """Squared distances of rows, at least eps between two valid rows.

  0, with gradient 0, between a row and itself, and where a row is masked.
  """
  # Not |x|^2 + |y|^2 - 2 x y, which cancels in float32 for close rows.
  square = jnp.sum((x[:, None] - x[None]) ** 2, axis=-1)
  far = square > eps
  others = pair_mask(mask) & ~jnp.eye(x.shape[0], dtype=bool)
  return jnp.where(others & far, square, jnp.where(others, eps, 0.0))


def safe_divide(
  x: Float[Array, "..."], scale: Float[Array, ""]
) -> Float[Array, "..."]:
  """x / scale, and 0, with gradient 0, where the scale is 0."""
  zero = scale == 0.0
  return jnp.where(zero, 0.0, x) / jnp.where(zero, 1.0, scale)


def smooth_l1(x: Float[Array, "..."]) -> Float[Array, "..."]:
  """x^2 / 2 up to 1, |x| - 1/2 beyond."""
  near = jnp.clip(x, -1.0, 1.0)
  return near * (x - 0.5 * near)
