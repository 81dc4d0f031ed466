"""ShuffleNet for small images."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from kdjax.errors import UserError
from kdjax.models import _conv_norm
from kdjax.models._modality import OneModality
from kdjax.types import Array, Outputs


class Model(OneModality, nn.Module):
  """ShuffleNet: bottlenecks of grouped convolutions, channel shuffles.

  Zhang et al., "ShuffleNet: an extremely efficient convolutional neural network
  for mobile devices", CVPR 2018, arXiv:1707.01083, Table 1, as in RepDistiller:
  the stem is a 1x1 convolution without pooling, and ReLU follows the depthwise
  convolution. The initialization is PyTorch's.

  Outputs: stage0 .. stage3 [B H W D] and preact0 .. preact3 (the same before
  ReLU): of the stem and of the three stages, which halve height and width
  (RepDistiller's feat[0] .. feat[3]). tokens [B T D] (the positions of stage3),
  embedding [B D] (their mean, feat[4]), logits [B K].

  Attributes:
    num_classes: K; None omits the logits.
    groups: of the blocks' 1x1 convolutions, except the very first; they divide
      a quarter of the channels that a block adds.
    widths: channels of the three stages; in the paper they depend on groups.
    blocks: number of blocks of each stage.
    dropout: rate; of the embedding, before the logits.
    modality: the input's key.
    axis_name: name of the device axis that shares batch statistics.
    dtype: of the activations.
  """

  num_classes: int | None = None
  groups: int = 3
  widths: tuple = (240, 480, 960)
  blocks: tuple = (4, 8, 4)
  dropout: float = 0.0
  modality: str = "image"
  axis_name: str | None = None
  dtype: Any = jnp.float32

  LAYERS = (
    ("stage{}", "map", (1, "blocks")),
    ("preact{}", "map", (1, "blocks")),
  )

  USES = ("has",)

  @nn.compact
  def __call__(self, inputs: dict[str, Array], *, train: bool) -> Outputs:
    """Reads `inputs[modality]`, [B H W C], and `has/<modality>`, bool [B]."""
    if len(self.widths) != len(self.blocks):
      raise UserError(
        f"A ShuffleNet has {len(self.widths)} widths and {len(self.blocks)}"
        " numbers of blocks.",
        "Expected one width and one number of blocks per stage.",
      )
    rows = inputs.get(f"has/{self.modality}")
    layers = _conv_norm.Layers(train, self.axis_name, self.dtype, rows=rows)
    outputs = {}
    x = layers.image(inputs[self.modality])
    x = _conv_norm.record(outputs, 0, layers.conv_norm(x, 24, 1, 0))
    stages = zip(self.widths, self.blocks, strict=True)
    for stage, (width, count) in enumerate(stages, 1):
      for index in range(count):
        # The 24 channels of the stem are too few for groups.
        first = 1 if stage == 1 and index == 0 else self.groups
        block = _Block(
          width,
          index == 0,
          (first, self.groups),
          layers,
          name=f"stage{stage}_block{index:02d}",
        )
        preact = block(x)
        x = nn.relu(preact)
      x = _conv_norm.record(outputs, stage, preact)
    drop = nn.Dropout(self.dropout, deterministic=not train)
    return _conv_norm.finish(outputs, x, self.num_classes, drop)


class _Block(nn.Module):
  """Figure 2 (b) or, if it halves, (c); the output is before ReLU."""

  width: int
  halves: bool
  groups: tuple[int, int]
  layers: _conv_norm.Layers

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """[B H W C] to [B h w D]."""
    conv_norm = self.layers.conv_norm
    first, last = self.groups
    # If it halves, the pooled input is the rest of the channels.
    added = self.width - x.shape[-1] if self.halves else self.width
    inside = added // 4
    y = nn.relu(conv_norm(x, inside, 1, 0, groups=first))
    y = _conv_norm.shuffle(y, first)
    stride = 2 if self.halves else 1
    y = nn.relu(conv_norm(y, inside, 3, 1, stride=stride, groups=inside))
    y = conv_norm(y, added, 1, 2, groups=last)
    if not self.halves:
      return x + y
    # The mean counts the zero padding, as in PyTorch.
    x = nn.avg_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
    return jnp.concatenate([y, x], axis=-1)
