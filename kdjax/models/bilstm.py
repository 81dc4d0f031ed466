"""A bidirectional LSTM for texts."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from kdjax.models import _recurrent
from kdjax.models._modality import OneModality
from kdjax.types import Array, Outputs


class Model(OneModality, nn.Module):
  """A bidirectional LSTM over token ids, ignoring padding.

  At padding, anywhere in the text, the states do not change.

  Outputs: embedded [B T E] (token embeddings), block00 .. [B T D] (each layer's
  output, forward then backward), tokens [B T D] (the last layer's output),
  embedding [B D] (0 without any token), logits [B K]. D is 2 width. All are 0
  at padding.

  Graves and Schmidhuber, "Framewise phoneme classification with bidirectional
  LSTM and other neural network architectures", Neural Networks 18, 2005. As a
  student: Tang et al., "Distilling Task-Specific Knowledge from BERT into
  Simple Neural Networks", 2019, arXiv:1903.12136, with pooling "last". Pooling
  "max": Conneau et al., "Supervised Learning of Universal Sentence
  Representations from Natural Language Inference Data", EMNLP 2017,
  arXiv:1705.02364, Section 3.2.

  Attributes:
    vocabulary: number of token ids.
    num_classes: K; None omits the logits.
    width: of one direction's state.
    words: E, the width of a token embedding.
    depth: number of layers.
    pooling: to the embedding: "max" or "mean" over tokens, or "last", both
      directions' final states.
    dropout: rate; of token embeddings, between layers and before the logits.
    modality: the input's key; padding is where `mask/<modality>` is False.
    axis_name: unused; the network has no batch statistics.
    dtype: of activations; the states are float32.
  """

  vocabulary: int
  num_classes: int | None = None
  width: int = 32
  words: int = 32
  depth: int = 1
  pooling: str = "max"
  dropout: float = 0.0
  modality: str = "text"
  axis_name: str | None = None
  dtype: Any = jnp.float32

  LAYERS = (
    ("embedded", "words", 1),
    ("block{:02d}", "words", "depth"),
    ("tokens", "words", 1),
  )

  USES = ("mask",)

  @nn.compact
  def __call__(self, inputs: dict[str, Array], *, train: bool) -> Outputs:
    """Reads `inputs[modality]`, int [B T], and its mask, bool [B T]."""
    _recurrent.check(self.pooling, _recurrent.POOLINGS, "pooling")
    ids = inputs[self.modality]
    mask = inputs.get(f"mask/{self.modality}")
    mask = jnp.ones(ids.shape, bool) if mask is None else mask
    drop = lambda x: nn.Dropout(self.dropout)(x, deterministic=not train)
    words = nn.Embed(
      self.vocabulary, self.words, dtype=self.dtype, name="words"
    )
    x = jnp.where(mask[..., None], words(ids), 0)
    outputs = {"embedded": x}
    for layer in range(self.depth):
      name = f"block{layer:02d}"
      last, x = _recurrent.layer(
        x, mask, self.width, name, drop=drop, dtype=self.dtype
      )
      outputs[name] = x
    outputs["tokens"] = x
    embedding = _recurrent.pool(x, mask, last, self.pooling)
    outputs["embedding"] = embedding
    if self.num_classes is not None:
      head = nn.Dense(self.num_classes, name="head")
      outputs["logits"] = head(drop(embedding))
    return outputs
