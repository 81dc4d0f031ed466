"""A text with wrong words."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Int, Key

from kdjax.errors import UserError, same_shape
from kdjax.types import Array


def token_corruption(
  key: Key[Array, ""],
  x: Int[Array, "T"],
  mask: Bool[Array, "T"],
  *,
  vocabulary: int,
  rate: float = 0.1,
  first: int = 2,
) -> tuple[Int[Array, "T"], Bool[Array, "T"]]:
  """Every token becomes a random one with the same probability.

  All ids from `first` are equally likely, that of the token itself too.
  "Unigram noising" of Xie et al., "Data Noising as Smoothing in Neural Network
  Language Models", ICLR 2017, arXiv:1703.02573, Section 3.1, with equal words.

  Args:
    key: draws which, and what they become.
    x: ids.
    mask: which are no padding: padding stays.
    vocabulary: how many ids there are.
    rate: the probability.
    first: the lowest id drawn: below are padding and the unknown word.

  Returns:
    The ids, and the mask as it was.

  Raises:
    ShapeError: ids and mask differ in shape.
    UserError: there is no id to draw.
  """
  if vocabulary <= first:
    raise UserError(
      f"Random ids from {first} in a vocabulary of {vocabulary}.",
      "There is none.",
    )
  same_shape(x=x, mask=mask)
  x = jnp.asarray(x)
  which_key, what_key = jax.random.split(key)
  wrong = jax.random.bernoulli(which_key, rate, x.shape) & mask
  other = jax.random.randint(what_key, x.shape, first, vocabulary, x.dtype)
  return jnp.where(wrong, other, x), mask
