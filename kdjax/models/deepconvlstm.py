"""DeepConvLSTM: convolutions over time, then an LSTM."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from kdjax.models import _recurrent, _series
from kdjax.models._modality import OneModality
from kdjax.types import Array, Outputs


class Model(OneModality, nn.Module):
  """Convolutions along time, the same for every channel, and LSTM layers.

  Ordonez and Roggen, "Deep convolutional and LSTM recurrent neural networks for
  multimodal wearable activity recognition", Sensors 2016, 16(1):115, Section
  2.3: four convolutions of 64 filters of length 5 with ReLU, which read each
  channel of the series by itself, two LSTM layers of 128, and a classifier on
  the last state. Differs from it:
  convolutions are padded with zeros, so that the series keeps its length and
  short ones work; the LSTM has no peepholes. For kernels of length k, c filters
  of F channels and an LSTM of width D it has

    (k + 1) c + (k c + 1) c (convolutions - 1)
      + 4 D (F c + D + 1) + 4 D (2 D + 1) (depth - 1) + (D + 1) K

  parameters.

  Outputs: conv0 .. [B T F c] (the convolutions, after ReLU), embedded [B T F c]
  (the last of them, side by side, which the LSTM reads), block00 .. [B T D]
  (each LSTM layer's states), tokens [B T D] (the last layer's states),
  mask/tokens, bool [B T], embedding [B D] (0 without any step), logits [B K].
  All are 0 at padding.

  Attributes:
    num_classes: K; None omits the logits.
    convolutions: number of convolutions.
    filters: c, of each convolution.
    kernel: length of the convolutions, in steps.
    width: D, of the LSTM's state.
    depth: number of LSTM layers.
    pooling: to the embedding: "last" (the final state), "max" or "mean".
    dropout: rate; before each LSTM layer and before the logits.
    modality: the input's key; padding is where `mask/<modality>` is False.
    axis_name: unused; the network has no batch statistics.
    dtype: of activations; the states are float32.
  """

  num_classes: int | None = None
  convolutions: int = 4
  filters: int = 64
  kernel: int = 5
  width: int = 128
  depth: int = 2
  pooling: str = "last"
  dropout: float = 0.0
  modality: str = "sequence"
  axis_name: str | None = None
  dtype: Any = jnp.float32

  LAYERS = (
    ("embedded", "steps", 1),
    ("block{:02d}", "steps", "depth"),
    ("tokens", "steps", 1),
  )

  USES = ("mask", "has")

  @nn.compact
  def __call__(self, inputs: dict[str, Array], *, train: bool) -> Outputs:
    """Reads `inputs[modality]`, [B T F], its mask and `has/<modality>`."""
    _recurrent.check(self.pooling, _recurrent.POOLINGS, "pooling")
    drop = lambda x: nn.Dropout(self.dropout)(x, deterministic=not train)
    outputs = {}
    x, mask = _series.read(inputs, self.modality)
    x = x[..., None].astype(self.dtype)
    before, after = (self.kernel - 1) // 2, self.kernel // 2
    for index in range(self.convolutions):
      x = nn.Conv(
        self.filters,
        (self.kernel, 1),
        padding=[(before, after), (0, 0)],
        dtype=self.dtype,
        name=f"conv{index}",
      )(x)
      x = jnp.where(mask[..., None, None], nn.relu(x), 0)
      outputs[f"conv{index}"] = x
    x = outputs["embedded"] = x.reshape(*mask.shape, -1)
    for index in range(self.depth):
      name = f"block{index:02d}"
      last, x = _recurrent.layer(
        drop(x), mask, self.width, name, both=False, dtype=self.dtype
      )
      outputs[name] = x
    embedding = _recurrent.pool(x, mask, last, self.pooling)
    return _series.finish(outputs, x, mask, self.num_classes, drop, embedding)
