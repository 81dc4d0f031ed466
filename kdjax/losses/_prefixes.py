"""Losses over prefixes of embeddings, so that they can be cut (Matryoshka)."""

from collections.abc import Callable, Sequence

from jaxtyping import Float

from kdjax.errors import UserError
from kdjax.types import Array


def over_prefixes(
  loss: Callable[..., Array],
  prefixes: Sequence[int],
  *embeddings: Float[Array, "B D"],
) -> Array:
  """The sum of a loss over prefixes; of the whole embeddings without any.

  Kusupati et al., "Matryoshka Representation Learning", NeurIPS 2022,
  arXiv:2205.13147, Eq. (1), with equal weights.

  Args:
    loss: of the embeddings.
    prefixes: numbers of first values. Those of the width or more are the whole,
      which counts once.
    *embeddings: that are cut.

  Raises:
    UserError: a prefix is less than 1.
  """
  if not prefixes:
    return loss(*embeddings)
  width = min(one.shape[-1] for one in embeddings)
  if min(prefixes) < 1:
    raise UserError(
      f"The prefixes are {tuple(prefixes)}.", "Expected numbers from 1 on."
    )
  lengths = dict.fromkeys(min(prefix, width) for prefix in prefixes)
  return sum(loss(*(one[..., :m] for one in embeddings)) for m in lengths)
