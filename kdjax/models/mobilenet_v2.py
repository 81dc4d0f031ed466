"""MobileNetV2 for small images."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from kdjax.errors import UserError
from kdjax.models import _conv_norm, _init
from kdjax.models._modality import OneModality
from kdjax.types import Array, Outputs

# The seven groups of blocks: channels, the first block's stride, and the stage
# that ends with the group (None: the stage continues in the next group).
GROUPS = (
  (16, 1, None),
  (24, 1, 1),
  (32, 2, 2),
  (64, 2, None),
  (96, 1, 3),
  (160, 2, None),
  (320, 1, 4),
)


class Model(OneModality, nn.Module):
  """MobileNetV2: inverted residuals with linear bottlenecks.

  Sandler et al., "MobileNetV2: inverted residuals and linear bottlenecks", CVPR
  2018, arXiv:1801.04381, Table 2, as in RepDistiller: the blocks of 24 channels
  have stride 1, and ReLU replaces ReLU6. Convolutions are initialized with a
  normal of variance 2/fan_out, the head with a deviation of 0.01 and biases
  of 0.

  Outputs: stage0 .. stage4 [B H W D] (RepDistiller's feat[0] .. feat[4]; stage0
  is after ReLU, the others are linear bottlenecks), preact0 .. preact4 (stage0
  before ReLU; otherwise the stage itself), tokens [B T D] (the last
  convolution's positions, after ReLU), embedding [B D] (their mean, feat[5]),
  logits [B K].

  Attributes:
    num_classes: K; None omits the logits.
    width: multiplier of the paper's channels; the 1280 channels of the last
      convolution are multiplied only if it is above 1.
    expansion: width of a block's inside relative to its bottleneck.
    blocks: number of blocks in each of the seven groups.
    dropout: rate; of the embedding, before the logits.
    modality: the input's key.
    axis_name: name of the device axis that shares batch statistics.
    dtype: of the activations.
  """

  num_classes: int | None = None
  width: float = 0.5
  expansion: int = 6
  blocks: tuple = (1, 2, 3, 4, 3, 3, 1)
  dropout: float = 0.0
  modality: str = "image"
  axis_name: str | None = None
  dtype: Any = jnp.float32

  LAYERS = (
    ("stage{}", "map", 5),
    ("preact{}", "map", 5),
  )

  USES = ("has",)

  @nn.compact
  def __call__(self, inputs: dict[str, Array], *, train: bool) -> Outputs:
    """Reads `inputs[modality]`, [B H W C], and `has/<modality>`, bool [B]."""
    if len(self.blocks) != len(GROUPS):
      raise UserError(
        f"blocks={self.blocks} has {len(self.blocks)} numbers.",
        "Expected seven, one for each of the seven groups of blocks.",
      )
    rows = inputs.get(f"has/{self.modality}")
    layers = _conv_norm.Layers(
      train, self.axis_name, self.dtype, _init.HE_NORMAL, rows
    )
    scaled = lambda channels: int(channels * self.width)
    outputs = {}
    x = layers.image(inputs[self.modality])
    x = layers.conv_norm(x, scaled(32), 3, 0, stride=2)
    x = _conv_norm.record(outputs, 0, x)
    for group, (channels, first, stage) in enumerate(GROUPS):
      for index in range(self.blocks[group]):
        block = _Block(
          scaled(channels),
          self.expansion if group else 1,
          1 if index else first,
          layers,
          name=f"group{group}_block{index:02d}",
        )
        x = block(x)
      if stage is not None:
        outputs[f"stage{stage}"] = outputs[f"preact{stage}"] = x
    x = nn.relu(layers.conv_norm(x, max(1280, scaled(1280)), 1, 1))
    drop = nn.Dropout(self.dropout, deterministic=not train)
    return _conv_norm.finish(
      outputs,
      x,
      self.num_classes,
      drop,
      kernel_init=_init.SMALL,
      bias_init=nn.initializers.zeros,
    )


class _Block(nn.Module):
  """1x1 expansion, 3x3 depthwise and 1x1 projection, with a shortcut."""

  width: int
  expansion: int
  stride: int
  layers: _conv_norm.Layers

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """[B H W C] to [B h w D]."""
    conv_norm = self.layers.conv_norm
    inside = x.shape[-1] * self.expansion
    y = nn.relu(conv_norm(x, inside, 1, 0))
    y = nn.relu(conv_norm(y, inside, 3, 1, stride=self.stride, groups=inside))
    y = conv_norm(y, self.width, 1, 2)
    return x + y if x.shape == y.shape else y
