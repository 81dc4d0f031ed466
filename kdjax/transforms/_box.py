"""Boxes in an image."""

import jax.numpy as jnp
from jaxtyping import Bool, Int

from kdjax.types import Array


def box(
  height: int,
  width: int,
  top: Int[Array, ""],
  left: Int[Array, ""],
  size: tuple[int | Int[Array, ""], int | Int[Array, ""]],
) -> Bool[Array, "H W 1"]:
  """Which pixels of an image are inside a box, clipped to the image."""
  rows = jnp.arange(height)[:, None, None]
  columns = jnp.arange(width)[None, :, None]
  return (
    (rows >= top)
    & (rows < top + size[0])
    & (columns >= left)
    & (columns < left + size[1])
  )
