"""Random choice of one of an image's captions."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Int, Key

from kdjax.errors import ShapeError, same_shape
from kdjax.types import Array


def one_caption(
  key: Key[Array, ""],
  x: Int[Array, "*K T"],
  mask: Bool[Array, "*K T"],
) -> tuple[Int[Array, "T"], Bool[Array, "T"]]:
  """Draws one of the K captions, each that is not empty equally likely.

  Data with several captions of a record has this transform without naming it.
  As in training on COCO captions: Radford et al., "Learning Transferable Visual
  Models From Natural Language Supervision", ICML 2021, arXiv:2103.00020,
  Section 2.3, which samples one text of several.

  Args:
    key: draws the caption.
    x: token ids; of a single text, which stays as it is, without K.
    mask: which positions are not padding; a caption without any is empty.

  Returns:
    The ids and the mask of one caption.

  Raises:
    ShapeError: the shapes of ids and mask differ, or have another rank.
  """
  same_shape(x=x, mask=mask)
  if x.ndim not in (1, 2):
    raise ShapeError(
      f"The transform 'one_caption' got {list(x.shape)}.",
      "Expected ids of several captions [K T], or of one [T].",
    )
  if x.ndim == 1:
    return x, mask
  present = mask.any(axis=1)
  logits = jnp.where(present, 0.0, -jnp.inf)
  drawn = jax.random.categorical(key, jnp.where(present.any(), logits, 0.0))
  return jnp.take(x, drawn, axis=0), jnp.take(mask, drawn, axis=0)
