"""Logits and labels of the rows that count."""

import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from kdjax.errors import ShapeError
from kdjax.types import Array


def mask_unlabelled(
  student: Float[Array, "B K"], label: Int[Array, "B"], mask: Bool[Array, "B"]
) -> tuple[Bool[Array, "B"], Int[Array, "B"], Float[Array, "B K"]]:
  """Returns (is valid, label, logits in float32).

  Valid rows are in the mask and have a label. Label and logits of other rows
  become 0, because they may have any value.
  """
  B, K = student.shape
  if label.shape != (B,) or mask.shape != (B,):
    raise ShapeError(
      f"For logits [{B}, {K}] the label is {list(label.shape)} and the mask"
      f" {list(mask.shape)}.",
      f"Expected shape [{B}] for both.",
    )
  valid = mask & (label >= 0)
  return valid, jnp.where(valid, label, 0), zero_masked(valid, student)


def zero_masked(
  mask: Bool[Array, "B"], array: Float[Array, "B ..."]
) -> Float[Array, "B ..."]:
  """The array in float32, 0 in the masked rows."""
  rows = array.shape[:1]
  if mask.shape != rows:
    raise ShapeError(
      f"For an array {list(array.shape)} the mask is {list(mask.shape)}.",
      f"Expected shape {list(rows)}.",
    )
  wide = mask.reshape(rows + (1,) * (array.ndim - 1))
  return jnp.where(wide, array.astype(jnp.float32), 0.0)


def embeddings_with_labels(
  embedding: Float[Array, "B D"], label: Int[Array, "B"], mask: Bool[Array, "B"]
) -> dict[str, Array]:
  """Embeddings in float32 and labels; 0 and -1 in the masked rows."""
  if label.shape != mask.shape:
    raise ShapeError(
      f"The label is {list(label.shape)} and the mask {list(mask.shape)}.",
      "Expected equal shapes.",
    )
  return {
    "student": zero_masked(mask, embedding),
    "label": jnp.where(mask, label, -1).astype(jnp.int32),
  }
