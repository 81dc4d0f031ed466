"""CRD scores with in-batch negatives."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from kdjax.heads import _nce
from kdjax.types import Array


class Head(nn.Module):
  """Log-scores between student and teacher embeddings of a batch.

  Each side is embedded by a linear layer and normalised to length 1. Column 0
  is the score between the two embeddings of an example, the other columns are
  scores with the other side's embeddings of the other examples. Only Z is
  stored. Negatives of the example's class and masked rows are ignored.

  Tian, Krishnan and Isola, "Contrastive Representation Distillation", ICLR
  2020, arXiv:1910.10699, without its memory.

  It reads (features, index) or (features, index, label).

  Attributes:
    data_size: that of the loss 'crd'; Z is the mean score times it.
    width: of the embeddings.
    temperature: divides the scores.
    dtype: of the activations; parameters are float32.
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
    """Log-scores of the student and of the teacher, minus log Z."""
    embed = _nce.EmbeddedPair(self.width, self.dtype, name="embed")
    student, teacher, _, label, mask = embed(x, like, mask)
    rows = jnp.arange(mask.size)
    # Row i: example i, then the others, from i + 1 on.
    columns = (rows[:, None] + rows[None]) % mask.size
    ignored = ~mask[columns]
    if label is not None:
      ignored |= _nce.same_class(label, label[columns])
    # The positive has the example's class and is not ignored.
    ignored = ignored.at[:, 0].set(False)
    log_scores = []
    for query, keys in ((student, teacher), (teacher, student)):
      scores = _nce.scores(keys, query, columns, temperature=self.temperature)
      log_scores.append(jnp.where(ignored, -jnp.inf, scores))
    normalize = _nce.NormalizedScores(self.data_size, name="z")
    return normalize(*log_scores, mask, train=train)
