"""A small Transformer encoder for texts."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from kdjax.errors import ShapeError
from kdjax.models import _block
from kdjax.models._modality import OneModality
from kdjax.types import Array, Outputs


class Model(OneModality, nn.Module):
  """A pre-norm Transformer encoder over token ids, ignoring padding.

  Outputs: embedded [B T D] (the first block's input), block00 .. [B T D],
  attention00 .. and scores00 .. [B heads T T] (after and before the softmax),
  query00 .., key00 .. and value00 .. [B T D] (all heads side by side), tokens
  [B T D], embedding [B D] (the mean over tokens; 0 without any), logits [B K].
  All are 0 at padding, except scores, which are -10000.

  Attributes:
    vocabulary: number of token ids.
    num_classes: K; None omits the logits.
    width: D.
    depth: number of blocks.
    heads: number of attention heads; they divide the width.
    length: maximal number of a text's positions.
    dropout: rate; of whole tokens at the input, against overfitting to single
      texts, and of values after every branch and before the logits.
    modality: the input's key; padding is where `mask/<modality>` is False.
    remat: recomputes each block's activations in the backward pass instead of
      storing them.
    fused: uses a fused attention kernel where the device has one. Attention
      maps are computed separately if a term reads them.
    axis_name: unused; the network has no batch statistics.
    dtype: of the activations.
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

  LAYERS = (
    ("embedded", "words", 1),
    ("block{:02d}", "words", "depth"),
    ("tokens", "words", 1),
    ("scores{:02d}", "attention", "depth"),
  )

  USES = ("mask",)

  @nn.compact
  def __call__(self, inputs: dict[str, Array], *, train: bool) -> Outputs:
    """Reads `inputs[modality]`, int [B T], and its mask, bool [B T]."""
    ids = inputs[self.modality]
    mask = inputs.get(f"mask/{self.modality}")
    mask = jnp.ones(ids.shape, bool) if mask is None else mask
    words = mask[..., None]
    drop = lambda x, axes=(): nn.Dropout(self.dropout, broadcast_dims=axes)(
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
    """Token embeddings plus position embeddings."""
    if ids.shape[1] > self.length:
      raise ShapeError(
        f"The text has {ids.shape[1]} positions, more than"
        f" length={self.length}.",
        "Shorten the texts or use a larger `length`.",
      )
    words = nn.Embed(
      self.vocabulary, self.width, dtype=self.dtype, name="words"
    )
    places = self.param("places", _block.SMALL, (self.length, self.width))
    return words(ids) + places[None, : ids.shape[1]].astype(self.dtype)
