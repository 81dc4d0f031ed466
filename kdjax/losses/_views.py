"""Comparison of transformed views of a batch with the plain view."""

import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from kdjax.errors import ShapeError
from kdjax.losses import _pairs
from kdjax.numerics import l2_normalize
from kdjax.types import Array


def view_similarities(
  views: tuple[Float[Array, "B D"], ...], mask: Bool[Array, "B"]
) -> Float[Array, "N B"]:
  """Cosines of each transformed row with all plain rows; masked rows lowest.

  Rows are ordered by example; the views of one example are adjacent.
  """
  if len(views) < 2:
    raise ShapeError(
      f"The tuple has {len(views)} view.",
      "Expected the plain view and at least one other.",
    )
  plain, *others = (
    l2_normalize(_pairs.zero_masked(view, mask)) for view in views
  )
  cosines = _pairs.inner_products(stack_views(others), plain)
  return jnp.where(mask[None], cosines, _pairs.HIDDEN_LOGIT)


def stack_views(
  views: list[Float[Array, "B D"]] | tuple[Float[Array, "B D"], ...],
) -> Float[Array, "N D"]:
  """Rows of several views; the views of one example are adjacent."""
  return jnp.stack(views, axis=1).reshape(-1, views[0].shape[-1])


def repeat_per_view(array: Array, views: tuple) -> Int[Array, "N"]:
  """Repeats a value per example for the rows of all views but the first."""
  return jnp.repeat(array, len(views) - 1, axis=0)
