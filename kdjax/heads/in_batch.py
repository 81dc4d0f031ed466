"""Every example told from the others of its batch."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from kdjax.heads import _nce
from kdjax.types import Array


class Head(nn.Module):
  """Log-scores of both sides among the other's embeddings of the batch.

  Each side is embedded by a linear layer and divided by its length. Column 0
  compares the two embeddings of the example itself, the others compare one
  with the other's of the rest of the batch. Nothing is kept but Z. A negative
  of the example's own class, and everything of rows that do not count, is left
  out.

  Tian, Krishnan and Isola, "Contrastive Representation Distillation", ICLR
  2020, arXiv:1910.10699, without its memory.

  It reads (features, index) or (features, index, label).

  Attributes:
    data_size: of the loss that reads the scores: Z is the mean score times it.
    width: of the embeddings.
    temperature: what scores are divided by.
    dtype: of its activations; its parameters are float32.
  """

  data_size: int = 50000
  width: int = 128
  temperature: float = 0.07
  dtype: Any = jnp.float32

  both = True
  gathered = True

  @nn.compact
  def __call__(
    self,
    x: tuple[Float[Array, "B D"], Int[Array, "B"]]
    | tuple[Float[Array, "B D"], Int[Array, "B"], Int[Array, "B"]],
    like: Float[Array, "B D_teacher"] | None = None,
    *,
    train: bool = False,
    mask: Bool[Array, "B"] | None = None,
  ) -> tuple[Float[Array, "B N"], Float[Array, "B N"]]:
    """Log-scores of the student and of the teacher, less log Z."""
    sides = _nce.Sides(self.width, self.dtype, name="embed")
    student, teacher, _, label, mask = sides(x, like, mask)
    rows = jnp.arange(mask.size)
    # Row i: itself, and then the others, starting with the next.
    columns = (rows[:, None] + rows[None]) % mask.size
    absent = ~mask[columns]
    if label is not None:
      absent |= _nce.alike(label, label[columns])
    # Itself is its own class, and counts.
    absent = absent.at[:, 0].set(False)
    found = []
    for one, other in ((student, teacher), (teacher, student)):
      scores = _nce.scores(other, one, columns, temperature=self.temperature)
      found.append(jnp.where(absent, -jnp.inf, scores))
    normalized = _nce.Normalized(self.data_size, name="z")
    return normalized(*found, mask, train=train)
