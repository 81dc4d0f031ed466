"""MobileNetV2, of small images."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from kdjax.errors import UserError
from kdjax.models import _conv_norm, _init
from kdjax.models._modality import OneModality
from kdjax.types import Array, Outputs

# Of the seven groups of blocks: channels, the stride of the first block, and
# the stage that the group ends (None: it goes on in the next).
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
  """Inverted residuals with linear bottlenecks.

  Sandler et al., "MobileNetV2: inverted residuals and linear bottlenecks", CVPR
  2018, arXiv:1801.04381, Table 2; as RepDistiller has it: the blocks of 24
  channels do not halve, and ReLU has no ceiling of 6. Convolutions start normal
  with variance 2/fan_out, the head with a deviation of 0.01 and biases at 0.

  Outputs: stage0 .. stage4 [B H W D]: RepDistiller's feat[0] .. feat[4], of
  which stage0 is after ReLU and the others, as the bottlenecks that they are,
  never see one; preact0 .. preact4: before ReLU where there is one, and else
  the same array; tokens [B T D] (the positions of the last convolution, after
  ReLU), embedding [B D] (their mean, feat[5]), logits [B K].

  Attributes:
    num_classes: None leaves out the logits.
    width: what the channels of the paper are multiplied by; the 1280 of the
      last convolution only if it is above 1.
    expansion: how much wider than its bottleneck a block is inside.
    blocks: how many of each of the seven groups.
    dropout: of the embedding's values before the logits.
    modality: which key of the inputs it reads.
    axis_name: of the devices that share batch statistics.
    dtype: of activations.
  """

  num_classes: int | None = None
  width: float = 0.5
  expansion: int = 6
  blocks: tuple = (1, 2, 3, 4, 3, 3, 1)
  dropout: float = 0.0
  modality: str = "image"
  axis_name: str | None = None
  dtype: Any = jnp.float32

  USES = ("has",)

  @nn.compact
  def __call__(self, inputs: dict[str, Array], *, train: bool) -> Outputs:
    """Sees `inputs[modality]`, [B H W C], and `has/<modality>`, bool [B]."""
    if len(self.blocks) != len(GROUPS):
      raise UserError(
        f"{len(self.blocks)} numbers of blocks.", "There are seven groups."
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
  """Widened, convolved channel by channel, narrowed; with a shortcut."""

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
