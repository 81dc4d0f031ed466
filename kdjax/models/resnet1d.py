"""The residual network for time series."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.models import _conv_norm, _series
from kdjax.models._modality import OneModality
from kdjax.types import Array, Outputs


class Model(OneModality, nn.Module):
  """A ResNet over time: blocks of convolutions of lengths 8, 5 and 3.

  Wang et al., "Time series classification from scratch with deep neural
  networks: A strong baseline", IJCNN 2017, arXiv:1611.06455, Section II-C,
  Eq. (5), with the shortcuts of the authors' code: batch norm after a 1x1
  convolution, or alone where a block keeps its number of channels. Differs from
  it: convolutions have no bias, which the batch norm after them cancels. A
  block of width D after one of width C has, for kernels k,

    D (k0 C + k1 D + k2 D) + 8 D,  and C D more where C is not D

  parameters; the classifier follows the mean over time.

  Outputs: stage0 .. [B T D] and preact0 .. (the same before ReLU), of the
  blocks; tokens [B T D] (the last stage), mask/tokens, bool [B T], embedding
  [B D] (the mean over tokens; 0 without any step), logits [B K]. All are 0 at
  padding, and batch statistics are over valid steps only.

  Attributes:
    num_classes: K; None omits the logits.
    widths: channels of each block.
    kernels: lengths of a block's convolutions, in steps.
    dropout: rate; of the embedding, before the logits.
    modality: the input's key; padding is where `mask/<modality>` is False.
    axis_name: name of the device axis that shares batch statistics.
    dtype: of the activations.
  """

  num_classes: int | None = None
  widths: tuple = (64, 128, 128)
  kernels: tuple = (8, 5, 3)
  dropout: float = 0.0
  modality: str = "sequence"
  axis_name: str | None = None
  dtype: Any = jnp.float32

  LAYERS = (
    ("stage{}", "steps", "widths"),
    ("preact{}", "steps", "widths"),
  )

  USES = ("mask", "has")

  @nn.compact
  def __call__(self, inputs: dict[str, Array], *, train: bool) -> Outputs:
    """Reads `inputs[modality]`, [B T F], its mask and `has/<modality>`."""
    layers = _series.layers(self, inputs, train, _series.GLOROT)
    outputs = {}
    x, mask = _series.read(inputs, self.modality)
    x = x.astype(self.dtype)
    for stage, width in enumerate(self.widths):
      preact = self._block(layers, x, mask, width, stage)
      x = _conv_norm.record(outputs, stage, preact)
    drop = nn.Dropout(self.dropout, deterministic=not train)
    return _series.finish(outputs, x, mask, self.num_classes, drop)

  def _block(
    self,
    layers: _series.Layers,
    x: Float[Array, "B T C"],
    mask: Bool[Array, "B T"],
    width: int,
    stage: int,
  ) -> Float[Array, "B T D"]:
    """A block's sum, before ReLU."""
    y = x
    for index, size in enumerate(self.kernels):
      y = nn.relu(y) if index else y
      y = layers.conv_norm(y, mask, width, size, f"{stage}_{index}")
    if x.shape[-1] == width:
      return y + layers.norm(x, mask, f"norm{stage}_shortcut")
    return y + layers.conv_norm(x, mask, width, 1, f"{stage}_shortcut")
