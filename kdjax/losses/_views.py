"""Transformed views of a batch compared with the plain one."""

import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from kdjax.errors import ShapeError
from kdjax.losses import _pairs
from kdjax.numerics import unit
from kdjax.types import Array


def similarities(
  views: tuple[Float[Array, "B D"], ...], mask: Bool[Array, "B"]
) -> Float[Array, "N B"]:
  """Cosines of every transformed row with all plain ones; hidden ones lowest.

  Rows are in the order of the examples, those of one example side by side.
  """
  if len(views) < 2:
    raise ShapeError(
      f"There is {len(views)} view.", "Expected the plain one and others."
    )
  plain, *others = (unit(_pairs.blank(view, mask)) for view in views)
  cosines = _pairs.product(stacked(others), plain)
  return jnp.where(mask[None], cosines, _pairs.FLOOR)


def stacked(
  views: list[Float[Array, "B D"]] | tuple[Float[Array, "B D"], ...],
) -> Float[Array, "N D"]:
  """Rows of several views, those of one example side by side."""
  return jnp.stack(views, axis=1).reshape(-1, views[0].shape[-1])


def repeated(array: Array, views: tuple) -> Int[Array, "N"]:
  """What belongs to the examples, for the rows of all but the first view."""
  return jnp.repeat(array, len(views) - 1, axis=0)
