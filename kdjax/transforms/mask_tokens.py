"""Tokens of a text are hidden, for masked language models."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Int, Key

from kdjax.errors import UserError, same_shape
from kdjax.types import Array


def mask_tokens(
  key: Key[Array, ""],
  x: Int[Array, "T"],
  mask: Bool[Array, "T"],
  *,
  token: int,
  rate: float = 0.15,
  random: float = 0.0,
  kept: float = 0.0,
  vocabulary: int | None = None,
  first: int = 2,
) -> tuple[Int[Array, "T"], Bool[Array, "T"], Bool[Array, "P"]]:
  """Hides every token with a probability, and says which it has hidden.

  A hidden token is replaced by the mask token, by a random one, or by none: it
  counts as hidden, and the network does not know that it has to be predicted.
  Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers for
  Language Understanding", NAACL 2019, arXiv:1810.04805, Section 3.1: 80 % mask
  tokens, 10 % random, 10 % kept, with random=0.1 and kept=0.1. The authors'
  code hides a fixed number of tokens of a text; here each is drawn alone.

  Args:
    key: draws which tokens to hide, and by what.
    x: token ids.
    mask: which positions are not padding; padding is never hidden.
    token: the id of the mask token; one above the ids of the words, say.
    rate: the probability that a token is hidden.
    random: the part of the hidden tokens that become a random token.
    kept: the part of the hidden tokens that stay.
    vocabulary: random tokens are below it; None is `token`.
    first: the lowest random token; padding and the unknown word are below it.

  Returns:
    The ids, the mask unchanged, and True at hidden tokens.

  Raises:
    ShapeError: the shapes of ids and mask differ.
    UserError: no id from `first` on is in the vocabulary.
  """
  vocabulary = token if vocabulary is None else vocabulary
  if vocabulary <= first:
    raise UserError(
      f"The transform 'mask_tokens' draws ids from {first} in a vocabulary of"
      f" {vocabulary}.",
      f"Expected vocabulary > {first}.",
    )
  same_shape(x=x, mask=mask)
  x = jnp.asarray(x)
  which_key, how_key, what_key = jax.random.split(key, 3)
  hidden = jax.random.bernoulli(which_key, rate, x.shape) & mask
  how = jax.random.uniform(how_key, x.shape)
  other = jax.random.randint(what_key, x.shape, first, vocabulary, x.dtype)
  shown = jnp.where(how < random, other, token)
  shown = jnp.where(how >= 1.0 - kept, x, shown)
  return jnp.where(hidden, shown, x).astype(x.dtype), mask, hidden
