"""Random replacement of tokens by the unknown token."""

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
  """Replaces every token by the unknown one with a probability.

  Bowman et al., "Generating Sentences from a Continuous Space", CoNLL 2016,
  arXiv:1511.06349, Section 3.1; "blank noising" of Xie et al., ICLR 2017,
  arXiv:1703.02573, Section 3.1.

  Args:
    key: draws which tokens to replace.
    x: token ids.
    mask: which positions are not padding; padding does not change.
    rate: the probability of a replacement.
    unknown: the id of the unknown token.

  Returns:
    The ids, and the mask unchanged.

  Raises:
    ShapeError: the shapes of ids and mask differ.
  """
  same_shape(x=x, mask=mask)
  dropped = jax.random.bernoulli(key, rate, x.shape) & mask
  return jnp.where(dropped, unknown, x), mask
