"""Logits and labels of the rows that count."""

import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from kdjax.errors import ShapeError
from kdjax.types import Array


def labelled(
  student: Float[Array, "B K"], label: Int[Array, "B"], mask: Bool[Array, "B"]
) -> tuple[Bool[Array, "B"], Int[Array, "B"], Float[Array, "B K"]]:
  """(who counts, the label, the logits in float32).

  Those that count are in the mask and have a label; label and logits of the
  others become 0, for they may hold anything.
  """
  B, K = student.shape
  if label.shape != (B,) or mask.shape != (B,):
    raise ShapeError(
      f"For logits [{B}, {K}] the label is {list(label.shape)} and the mask"
      f" {list(mask.shape)}.",
      f"Both must be [{B}].",
    )
  counts = mask & (label >= 0)
  return counts, jnp.where(counts, label, 0), shown(counts, student)


def shown(
  counts: Bool[Array, "B"], array: Float[Array, "B ..."]
) -> Float[Array, "B ..."]:
  """An array in float32, 0 in the rows that do not count."""
  rows = array.shape[:1]
  if counts.shape != rows:
    raise ShapeError(
      f"For an array {list(array.shape)} the mask is {list(counts.shape)}.",
      f"It must be {list(rows)}.",
    )
  wide = counts.reshape(rows + (1,) * (array.ndim - 1))
  return jnp.where(wide, array.astype(jnp.float32), 0.0)
