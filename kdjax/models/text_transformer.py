"""A small Transformer encoder of texts."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from kdjax.errors import ShapeError
from kdjax.models import _block
from kdjax.models._modality import OneModality
from kdjax.types import Array, Outputs


class Model(OneModality, nn.Module):
  """Pre-norm self-attention over token ids, blind to padding.

  Outputs: block00 .. [B T D], attention00 .. [B heads T T], tokens [B T D],
  embedding [B D] (the mean over words; 0 without any), logits [B K]; of what
  makes the attention, query00 .., key00 .. and value00 .. [B T D] (all heads
  side by side) and scores00 .. [B heads T T] (before the softmax); embedded
  [B T D], what enters the first block. All are 0 at padding, but scores, which
  are -10000 there.

  Attributes:
    vocabulary: how many ids there are.
    num_classes: None leaves out the logits.
    width: D.
    depth: blocks.
    heads: of the attention; they divide the width.
    length: the most positions that a text may have.
    dropout: of whole words at the input, which keeps texts from being learned
      by heart, and of values after every branch and before the logits.
    modality: which key of the inputs it reads; its padding is where
      `mask/<modality>` is False.
    remat: whether the backward pass computes each block's inner values again,
      in place of keeping them.
    fused: whether attention is a fused kernel, where the device has one; its
      maps are then computed beside it, where a term reads them.
    axis_name: unused, it has no batch statistics.
    dtype: of activations.
  """

  vocabulary: int
  num_classes: int | None = None
  width: int = 32
  depth: int = 1
  heads: int = 2
  length: int = 64
  dropout: float = 0.0
  modality: str = "text"
  remat: bool = False
  fused: bool = False
  axis_name: str | None = None
  dtype: Any = jnp.float32

  USES = ("mask",)

  @nn.compact
  def __call__(self, inputs: dict[str, Array], *, train: bool) -> Outputs:
    """Sees `inputs[modality]`, int [B T], and its mask, bool [B T]."""
    ids = inputs[self.modality]
    mask = inputs.get(f"mask/{self.modality}")
    mask = jnp.ones(ids.shape, bool) if mask is None else mask
    words = mask[..., None]
    drop = lambda x, over=(): nn.Dropout(self.dropout, broadcast_dims=over)(
      x, deterministic=not train
    )
    outputs = {}
    x = drop(jnp.where(words, self._embed(ids), 0), (2,))
    outputs["embedded"] = x
    x = _block.stack(self, x, mask, outputs, drop)
    x = nn.LayerNorm(dtype=self.dtype, name="norm")(x)
    x = jnp.where(words, x, 0)
    outputs["tokens"] = x
    count = jnp.maximum(jnp.sum(words, axis=1, dtype=jnp.float32), 1)
    embedding = jnp.sum(x.astype(jnp.float32), axis=1) / count
    outputs["embedding"] = embedding
    if self.num_classes is not None:
      outputs["logits"] = nn.Dense(self.num_classes, name="head")(
        drop(embedding)
      )
    return outputs

  def _embed(self, ids):
    """Words and their places."""
    if ids.shape[1] > self.length:
      raise ShapeError(
        f"A text of {ids.shape[1]} positions.",
        f"This network has length={self.length}.",
      )
    words = nn.Embed(
      self.vocabulary, self.width, dtype=self.dtype, name="words"
    )
    places = self.param("places", _block.SMALL, (self.length, self.width))
    return words(ids) + places[None, : ids.shape[1]].astype(self.dtype)
