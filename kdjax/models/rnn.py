"""An LSTM or a GRU for series of numbers."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from kdjax.models import _recurrent, _series
from kdjax.models._modality import OneModality
from kdjax.types import Array, Outputs


class Model(OneModality, nn.Module):
  """Recurrent layers over the steps of a series, ignoring padding.

  At padding, anywhere in the series, the states do not change. The cell "lstm"
  is Hochreiter and Schmidhuber, "Long short-term memory", Neural Computation
  1997, with a forget gate; "gru" is Cho et al., "Learning phrase
  representations using RNN encoder-decoder for statistical machine
  translation", EMNLP 2014, arXiv:1406.1078, with the reset gate after the
  recurrent product, as in PyTorch. Both directions: Graves and Schmidhuber,
  Neural Networks 18, 2005. `bilstm` is the same over token ids.

  Outputs: block00 .. [B T D] (each layer's states, forward then backward),
  tokens [B T D] (the last layer's states), mask/tokens, bool [B T], embedding
  [B D] (0 without any step), logits [B K]. D is `width`, or twice as much in
  both directions. All are 0 at padding.

  Attributes:
    num_classes: K; None omits the logits.
    cell: "lstm" or "gru".
    width: of one direction's state.
    depth: number of layers.
    bidirectional: whether the layers read in both directions.
    pooling: to the embedding: "max" or "mean" over steps, or "last", the final
      states of all directions.
    dropout: rate; between layers and before the logits.
    modality: the input's key; padding is where `mask/<modality>` is False.
    axis_name: unused; the network has no batch statistics.
    dtype: of activations; the states are float32.
  """

  num_classes: int | None = None
  cell: str = "lstm"
  width: int = 64
  depth: int = 1
  bidirectional: bool = True
  pooling: str = "last"
  dropout: float = 0.0
  modality: str = "sequence"
  axis_name: str | None = None
  dtype: Any = jnp.float32

  LAYERS = (
    ("block{:02d}", "steps", "depth"),
    ("tokens", "steps", 1),
  )

  USES = ("mask", "has")

  @nn.compact
  def __call__(self, inputs: dict[str, Array], *, train: bool) -> Outputs:
    """Reads `inputs[modality]`, [B T F], its mask and `has/<modality>`."""
    _recurrent.check(self.cell, _recurrent.CELLS, "cell")
    _recurrent.check(self.pooling, _recurrent.POOLINGS, "pooling")
    drop = lambda x: nn.Dropout(self.dropout)(x, deterministic=not train)
    x, mask = _series.read(inputs, self.modality)
    x = x.astype(self.dtype)
    outputs = {}
    for index in range(self.depth):
      name = f"block{index:02d}"
      last, x = _recurrent.layer(
        drop(x) if index else x,
        mask,
        self.width,
        name,
        cell=self.cell,
        both=self.bidirectional,
        dtype=self.dtype,
      )
      outputs[name] = x
    embedding = _recurrent.pool(x, mask, last, self.pooling)
    return _series.finish(outputs, x, mask, self.num_classes, drop, embedding)
