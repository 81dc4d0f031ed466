"""Every example told from those of the batches before."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from kdjax.heads import _nce
from kdjax.numerics import unit
from kdjax.types import Array


class Head(nn.Module):
  """Log-scores of both sides among the newest embeddings of the other.

  Each side is embedded by a linear layer and divided by its length. Column 0
  compares the two embeddings of the example itself, the others compare one
  with the queue of the other's. Then the batch is pushed, and the oldest are
  forgotten. For data sets of which a bank would be too large. A negative known
  to be of the example's own class, an older embedding of the example itself,
  and everything of rows that do not count, is left out.

  Tian, Krishnan and Isola, "Contrastive Representation Distillation", ICLR
  2020, arXiv:1910.10699, with the queue of He et al., "Momentum Contrast for
  Unsupervised Visual Representation Learning", CVPR 2020, arXiv:1911.05722.

  It reads (features, index) or (features, index, label).

  Attributes:
    size: how many embeddings of each side are kept.
    data_size: of the loss that reads the scores: Z is the mean score times it.
    width: of the embeddings.
    temperature: what scores are divided by.
    dtype: of its activations; its parameters and its memory are float32.
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
    """Log-scores of the student and of the teacher, less log Z."""
    sides = _nce.Sides(self.width, self.dtype, name="embed")
    student, teacher, index, label, mask = sides(x, like, mask)
    queues = {
      side: self.variable("memory", side, self._start)
      for side in ("student", "teacher")
    }
    none = lambda: jnp.full(self.size, -1, jnp.int32)
    labels = self.variable("memory", "label", none)
    indices = self.variable("memory", "index", none)
    pointer = self.variable("memory", "pointer", jnp.zeros, (), jnp.int32)
    absent = indices.value[None] == index[:, None]
    absent |= _nce.alike(label, labels.value[None])
    own = jnp.sum(student * teacher, axis=1, keepdims=True)
    found = []
    for side, embedding in (("teacher", student), ("student", teacher)):
      rest = jnp.einsum(
        "bw,mw->bm", embedding, queues[side].value, precision=_nce.EXACT
      )
      scores = jnp.concatenate([own, rest], axis=1) / self.temperature
      scores = scores.at[:, 1:].set(jnp.where(absent, -jnp.inf, scores[:, 1:]))
      found.append(scores)
    normalized = _nce.Normalized(self.data_size, name="z")
    found = normalized(*found, mask, train=train)
    if train and not self.is_initializing():
      rows, pointer.value = places(pointer.value, mask, self.size)
      push = lambda kept, new: kept.at[rows].set(
        jax.lax.stop_gradient(new), mode="drop"
      )
      queues["student"].value = push(queues["student"].value, student)
      queues["teacher"].value = push(queues["teacher"].value, teacher)
      indices.value = push(indices.value, index)
      labels.value = push(labels.value, -1 if label is None else label)
    return found

  def _start(self) -> Float[Array, "M W"]:
    return unit(_nce.start(self.make_rng("params"), self.size, self.width))


def places(
  pointer: Int[Array, ""], mask: Bool[Array, "B"], size: int
) -> tuple[Int[Array, "B"], Int[Array, ""]]:
  """Where the rows of a batch go, and the pointer after them.

  A row that does not count, or that the batch itself pushes out again, goes to
  `size`, where nothing is.
  """
  order = jnp.cumsum(mask) - 1
  count = jnp.sum(mask)
  stays = mask & (order >= count - size)
  rows = jnp.where(stays, (pointer + order) % size, size)
  return rows, ((pointer + count) % size).astype(jnp.int32)
