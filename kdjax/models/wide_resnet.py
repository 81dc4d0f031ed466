"""Wide ResNets for images of 32x32."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from kdjax.errors import UserError
from kdjax.models import _conv_norm, _init, _residual
from kdjax.models._modality import OneModality
from kdjax.types import Array, Outputs


class Model(OneModality, nn.Module):
  """A WRN-depth-widen: three stages of pre-activation blocks.

  Zagoruyko and Komodakis, "Wide residual networks", BMVC 2016,
  arXiv:1605.07146, Table 1, as in RepDistiller. Convolutions are initialized
  with a normal of variance 2/fan_out, the head's biases with 0.

  A stage ends with a residual sum, without ReLU; the next stage starts with its
  batch norm. Outputs: residual0 .. residual3 [B H W D] (the sums, of the first
  convolution and of the three stages; the last two halve height and width;
  RepDistiller's feat[0] .. feat[3]), preact0 .. preact3 (after the next batch
  norm, RepDistiller's feat[1] .. feat[3] with preact), stage0 .. stage3 (these
  after ReLU), tokens [B T D] (the positions of stage3), embedding [B D] (their
  mean, feat[4]), logits [B K].

  Attributes:
    num_classes: K; None omits the logits.
    depth: 6 n + 4, for n blocks per stage: 16, 22, 28, 40.
    widen: channels of the first stage relative to `width`.
    width: channels of the first convolution. Each stage after the first has
      twice as many channels as the one before it.
    dropout: rate; between the two convolutions of a block.
    modality: the input's key.
    remat: recomputes each block's activations in the backward pass instead of
      storing them.
    axis_name: name of the device axis that shares batch statistics.
    dtype: of the activations.
  """

  num_classes: int | None = None
  depth: int = 16
  widen: int = 2
  width: int = 16
  dropout: float = 0.0
  modality: str = "image"
  remat: bool = False
  axis_name: str | None = None
  dtype: Any = jnp.float32

  LAYERS = (
    ("stage{}", "map", 4),
    ("preact{}", "map", 4),
  )

  USES = ("has",)

  @nn.compact
  def __call__(self, inputs: dict[str, Array], *, train: bool) -> Outputs:
    """Reads `inputs[modality]`, [B H W C], and `has/<modality>`, bool [B]."""
    if self.depth < 10 or self.depth % 6 != 4:
      raise UserError(
        f"No wide ResNet has depth={self.depth}.",
        "Depths are 6 n + 4: 10, 16, 22, 28, 40.",
      )
    rows = inputs.get(f"has/{self.modality}")
    layers = _conv_norm.Layers(
      train, self.axis_name, self.dtype, _init.HE_NORMAL, rows
    )
    outputs = {}
    x = layers.image(inputs[self.modality])
    x = outputs["residual0"] = layers.conv(x, self.width, 3, "conv")
    block_class = _residual.maybe_remat(_Block, self.remat)
    for stage in (1, 2, 3):
      width = self.width * self.widen * 2 ** (stage - 1)
      for index in range(self.depth // 6):
        stride = 2 if stage > 1 and index == 0 else 1
        block = block_class(
          width,
          stride,
          self.dropout,
          layers,
          name=f"stage{stage}_block{index:02d}",
        )
        preact, x = block(x)
        if index == 0:
          _conv_norm.record(outputs, stage - 1, preact)
      outputs[f"residual{stage}"] = x
    x = _conv_norm.record(outputs, 3, layers.norm(x, "norm"))
    zeros = nn.initializers.zeros
    return _conv_norm.finish(
      outputs, x, self.num_classes, lambda x: x, bias_init=zeros
    )


class _Block(nn.Module):
  """Two times batch norm, ReLU and convolution, with a shortcut."""

  width: int
  stride: int
  dropout: float
  layers: _conv_norm.Layers

  @nn.compact
  def __call__(self, x: Array) -> tuple[Array, Array]:
    """The first batch norm of x, [B H W C], and the block's output."""
    layers = self.layers
    preact = layers.norm(x, "norm0")
    y = active = nn.relu(preact)
    y = layers.conv(y, self.width, 3, "conv0", stride=self.stride)
    y = nn.relu(layers.norm(y, "norm1"))
    y = nn.Dropout(self.dropout, deterministic=not layers.train)(y)
    y = layers.conv(y, self.width, 3, "conv1")
    if x.shape != y.shape:
      x = layers.conv(
        active, self.width, 1, "conv_shortcut", stride=self.stride
      )
    return preact, x + y
