"""A text with unknown words."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Int, Key

from kdjax.errors import same_shape
from kdjax.types import Array


def token_dropout(
  key: Key[Array, ""],
  x: Int[Array, "T"],
  mask: Bool[Array, "T"],
  *,
  rate: float = 0.1,
  unknown: int = 1,
) -> tuple[Int[Array, "T"], Bool[Array, "T"]]:
  """Every token becomes the unknown one with the same probability.

  Bowman et al., "Generating Sentences from a Continuous Space", CoNLL 2016,
  arXiv:1511.06349, Section 3.1; "blank noising" of Xie et al., ICLR 2017,
  arXiv:1703.02573, Section 3.1.

  Args:
    key: draws which.
    x: ids.
    mask: which are no padding: padding stays.
    rate: the probability.
    unknown: the id of the unknown token.

  Returns:
    The ids, and the mask as it was.

  Raises:
    ShapeError: the two differ in shape.
  """
  same_shape(x=x, mask=mask)
  dropped = jax.random.bernoulli(key, rate, x.shape) & mask
  return jnp.where(dropped, unknown, x), mask
