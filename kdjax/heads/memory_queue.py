"""CRD scores with a queue of recent embeddings."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from kdjax.heads import _nce
from kdjax.numerics import l2_normalize
from kdjax.types import Array


class Head(nn.Module):
  """Log-scores of each side with recent embeddings of the other side.

  Each side is embedded by a linear layer and normalised to length 1. Column 0
  is the score between the two embeddings of an example, the other columns are
  scores with the queue of the other side. In training the batch then replaces
  the oldest entries. For data sets too large for a memory bank. Negatives known
  to have the example's class, older embeddings of the same example and masked
  rows are ignored.

  Tian, Krishnan and Isola, "Contrastive Representation Distillation", ICLR
  2020, arXiv:1910.10699, with the queue of He et al., "Momentum Contrast for
  Unsupervised Visual Representation Learning", CVPR 2020, arXiv:1911.05722.

  It reads (features, index) or (features, index, label).

  Attributes:
    size: the number of stored embeddings per side.
    data_size: that of the loss 'crd'; Z is the mean score times it.
    width: of the embeddings.
    temperature: divides the scores.
    dtype: of the activations; parameters and memory are float32.
  """

  size: int = 16384
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
    student, teacher, index, label, mask = embed(x, like, mask)
    queues = {
      side: self.variable("memory", side, self._start)
      for side in ("student", "teacher")
    }
    unknown = lambda: jnp.full(self.size, -1, jnp.int32)
    labels = self.variable("memory", "label", unknown)
    indices = self.variable("memory", "index", unknown)
    pointer = self.variable("memory", "pointer", jnp.zeros, (), jnp.int32)
    ignored = indices.value[None] == index[:, None]
    ignored |= _nce.same_class(label, labels.value[None])
    positive = jnp.sum(student * teacher, axis=1, keepdims=True)
    log_scores = []
    for side, embedding in (("teacher", student), ("student", teacher)):
      negatives = jnp.einsum(
        "bw,mw->bm", embedding, queues[side].value, precision=_nce.EXACT
      )
      scores = jnp.concatenate([positive, negatives], axis=1) / self.temperature
      scores = scores.at[:, 1:].set(jnp.where(ignored, -jnp.inf, scores[:, 1:]))
      log_scores.append(scores)
    normalize = _nce.NormalizedScores(self.data_size, name="z")
    log_scores = normalize(*log_scores, mask, train=train)
    if train and not self.is_initializing():
      rows, pointer.value = queue_rows(pointer.value, mask, self.size)
      push = lambda queue, new: queue.at[rows].set(
        jax.lax.stop_gradient(new), mode="drop"
      )
      queues["student"].value = push(queues["student"].value, student)
      queues["teacher"].value = push(queues["teacher"].value, teacher)
      indices.value = push(indices.value, index)
      labels.value = push(labels.value, -1 if label is None else label)
    return log_scores

  def _start(self) -> Float[Array, "M W"]:
    return l2_normalize(
      _nce.initial_rows(self.make_rng("params"), self.size, self.width)
    )


def queue_rows(
  pointer: Int[Array, ""], mask: Bool[Array, "B"], size: int
) -> tuple[Int[Array, "B"], Int[Array, ""]]:
  """Returns (queue row of each example, pointer after the batch).

  Masked examples, and those that later examples of the batch overwrite, get the
  row `size`, which is out of range and not written.
  """
  order = jnp.cumsum(mask) - 1
  count = jnp.sum(mask)
  stored = mask & (order >= count - size)
  rows = jnp.where(stored, (pointer + order) % size, size)
  return rows, ((pointer + count) % size).astype(jnp.int32)
