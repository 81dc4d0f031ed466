"""A small convolutional network for series of numbers."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from kdjax.errors import UserError
from kdjax.models import _conv_norm, _series
from kdjax.models._modality import OneModality
from kdjax.types import Array, Outputs


class Model(OneModality, nn.Module):
  """A CNN over time: convolution, batch norm and ReLU, then the mean over time.

  For series of sensors, such as the three axes of an accelerometer. With
  convolutions of length k and widths D0, D1, .., it has

    k (F D0 + D0 D1 + D1 D2) + 2 (D0 + D1 + D2) + (D2 + 1) K

  parameters: 31,845 for F = 3 and K = 5. A convolution over all channels at
  once and a pooling over time: Wang et al., "Time series classification from
  scratch with deep neural networks: A strong baseline", IJCNN 2017,
  arXiv:1611.06455, Section II-B (FCN). Differs from it: fewer channels, shorter
  kernels, a stride.

  Outputs: stage0 .. [B T D], preact0 .. [B T D] (the same before ReLU),
  mask/stage0 .., bool [B T] (of both), tokens [B T D] (the last stage),
  mask/tokens, bool [B T], embedding [B D] (the mean over tokens; 0 without any
  step), logits [B K]. All are 0 at padding, and batch statistics are over valid
  steps only.

  Attributes:
    num_classes: K; None omits the logits.
    widths: channels of each stage.
    kernel: length of the convolutions, in steps; at least the stride.
    stride: of each stage after stage0; 1 keeps the number of steps.
    dropout: rate; of the embedding, before the logits.
    modality: the input's key; padding is where `mask/<modality>` is False.
    axis_name: name of the device axis that shares batch statistics.
    dtype: of the activations.
  """

  num_classes: int | None = None
  widths: tuple = (32, 64, 64)
  kernel: int = 5
  stride: int = 2
  dropout: float = 0.0
  modality: str = "sequence"
  axis_name: str | None = None
  dtype: Any = jnp.float32

  LAYERS = (
    ("stage{}", "frames", "widths"),
    ("preact{}", "frames", "widths"),
    ("params/norm{}", "norm", "widths"),
  )

  USES = ("mask", "has")

  @nn.compact
  def __call__(self, inputs: dict[str, Array], *, train: bool) -> Outputs:
    """Reads `inputs[modality]`, [B T F], its mask and `has/<modality>`."""
    if not 1 <= self.stride <= self.kernel:
      raise UserError(
        f"The convolutions have kernel={self.kernel} and stride={self.stride}.",
        "Expected a stride from 1 to `kernel`.",
      )
    layers = _series.layers(self, inputs, train)
    outputs = {}
    x, mask = _series.read(inputs, self.modality)
    x = x.astype(self.dtype)
    for stage, width in enumerate(self.widths):
      stride = self.stride if stage else 1
      mask = _series.stride_mask(mask, stride)
      outputs[f"mask/stage{stage}"] = mask
      x = layers.conv(x, width, self.kernel, f"conv{stage}", stride=stride)
      x = layers.norm(x, mask, f"norm{stage}")
      x = _conv_norm.record(outputs, stage, x)
    drop = nn.Dropout(self.dropout, deterministic=not train)
    return _series.finish(outputs, x, mask, self.num_classes, drop)
