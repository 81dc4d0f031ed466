"""A convolutional network for texts."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from kdjax.models import _pool
from kdjax.models._modality import OneModality
from kdjax.types import Array, Outputs


class Model(OneModality, nn.Module):
  """A CNN: several window sizes over token embeddings, then max pooling.

    map_t = relu(W . [x_(t-a) .. x_(t+b)] + bias),  a = (h-1)//2, b = h//2
    embedding = max over words t of map_t, the windows h side by side

  Outputs: embedded [B T E] (token embeddings), preact0 [B T D] (the maps before
  ReLU), tokens [B T D] (the maps), embedding [B D] (0 without any token),
  logits [B K]. D is channels times the number of windows. All are 0 at padding.

  Kim, "Convolutional Neural Networks for Sentence Classification", EMNLP 2014,
  arXiv:1408.5882, Eqs. 1 to 3, with words=300, channels=100 and dropout=0.5.
  Differs from it: windows are padded with zeros, so that all maps have the
  text's length and short texts work; the norm of the last layer's rows is not
  bounded.

  Attributes:
    vocabulary: number of token ids.
    num_classes: K; None omits the logits.
    words: E, the width of a token embedding.
    channels: maps per window.
    windows: h, the sizes of the windows, in tokens.
    dropout: rate; of the embedding, before the logits.
    modality: the input's key; padding is where `mask/<modality>` is False.
    axis_name: unused; the network has no batch statistics.
    dtype: of the activations.
  """

  vocabulary: int
  num_classes: int | None = None
  words: int = 32
  channels: int = 32
  windows: tuple = (3, 4, 5)
  dropout: float = 0.0
  modality: str = "text"
  axis_name: str | None = None
  dtype: Any = jnp.float32

  LAYERS = (
    ("embedded", "words", 1),
    ("tokens", "words", 1),
    ("preact{}", "words", 1),
  )

  USES = ("mask",)

  @nn.compact
  def __call__(self, inputs: dict[str, Array], *, train: bool) -> Outputs:
    """Reads `inputs[modality]`, int [B T], and its mask, bool [B T]."""
    ids = inputs[self.modality]
    mask = inputs.get(f"mask/{self.modality}")
    mask = jnp.ones(ids.shape, bool) if mask is None else mask
    valid = mask[..., None]
    words = nn.Embed(
      self.vocabulary, self.words, dtype=self.dtype, name="words"
    )
    x = jnp.where(valid, words(ids), 0)
    maps = [
      nn.Conv(
        self.channels,
        (window,),
        padding=[((window - 1) // 2, window // 2)],
        dtype=self.dtype,
        name=f"conv{index}",
      )(x)
      for index, window in enumerate(self.windows)
    ]
    outputs = {"embedded": x}
    preact = jnp.where(valid, jnp.concatenate(maps, axis=-1), 0)
    outputs["preact0"] = preact
    tokens = outputs["tokens"] = nn.relu(preact)
    embedding = outputs["embedding"] = _pool.maximum(tokens, mask)
    if self.num_classes is not None:
      drop = nn.Dropout(self.dropout, deterministic=not train)
      head = nn.Dense(self.num_classes, name="head")
      outputs["logits"] = head(drop(embedding))
    return outputs
