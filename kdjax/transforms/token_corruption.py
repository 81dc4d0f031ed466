"""Random replacement of tokens of a text."""

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
  """Replaces every token by a random one with a probability.

  The new id is uniform from `first` on, and may be the token's own. "Unigram
  noising" of Xie et al., "Data Noising as Smoothing in Neural Network Language
  Models", ICLR 2017, arXiv:1703.02573, Section 3.1, with uniform words.

  Args:
    key: draws which tokens to replace, and the new ids.
    x: token ids.
    mask: which positions are not padding; padding does not change.
    vocabulary: the number of ids.
    rate: the probability of a replacement.
    first: the lowest new id; padding and the unknown word are below it.

  Returns:
    The ids, and the mask unchanged.

  Raises:
    ShapeError: the shapes of ids and mask differ.
    UserError: no id from `first` on is in the vocabulary.
  """
  if vocabulary <= first:
    raise UserError(
      f"The transform 'token_corruption' draws ids from {first} in a"
      f" vocabulary of {vocabulary}.",
      f"Expected vocabulary > {first}.",
    )
  same_shape(x=x, mask=mask)
  x = jnp.asarray(x)
  which_key, what_key = jax.random.split(key)
  wrong = jax.random.bernoulli(which_key, rate, x.shape) & mask
  other = jax.random.randint(what_key, x.shape, first, vocabulary, x.dtype)
  return jnp.where(wrong, other, x), mask
