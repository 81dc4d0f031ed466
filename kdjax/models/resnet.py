"""Residual networks of photographs."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from kdjax.errors import UserError
from kdjax.models import _conv_norm, _init, _residual
from kdjax.models._modality import OneModality
from kdjax.types import Array, Outputs

BLOCKS = {
  10: (1, 1, 1, 1),
  18: (2, 2, 2, 2),
  34: (3, 4, 6, 3),
  50: (3, 4, 6, 3),
  101: (3, 4, 23, 3),
  152: (3, 8, 36, 3),
}


class Model(OneModality, nn.Module):
  """A ResNet of four stages: basic blocks below 50 layers, else bottlenecks.

  He et al., "Deep residual learning for image recognition", CVPR 2016,
  arXiv:1512.03385, Table 1 (depth 10 is not in it: a block a stage), with the
  stride of a bottleneck in its 3x3 convolution. Convolutions start normal with
  variance 2/fan_out. With stem "cifar" it is that of RepDistiller's
  `resnetv2`, with stem "imagenet" torchvision's.

  Outputs: stage0 .. stage4 [B H W D] and preact0 .. preact4 (the same before
  ReLU), of the stem (before its pooling) and of the four stages, of which the
  last three halve height and width: RepDistiller's feat[0] .. feat[4]; tokens
  [B T D] (the positions of stage4), embedding [B D] (their mean), logits [B K].

  Attributes:
    num_classes: None leaves out the logits.
    depth: 10, 18, 34, 50, 101 or 152.
    width: channels of the stem and, before expansion, of the first stage; each
      further stage doubles them.
    stem: "imagenet" (a 7x7 convolution of stride 2 and a 3x3 max pooling of
      stride 2) or "cifar" (a 3x3 convolution).
    dropout: of the embedding's values before the logits.
    modality: which key of the inputs it reads.
    axis_name: of the devices that share batch statistics.
    dtype: of activations.
  """

  num_classes: int | None = None
  depth: int = 18
  width: int = 64
  stem: str = "imagenet"
  dropout: float = 0.0
  modality: str = "image"
  axis_name: str | None = None
  dtype: Any = jnp.float32

  USES = ("has",)

  @nn.compact
  def __call__(self, inputs: dict[str, Array], *, train: bool) -> Outputs:
    """Sees `inputs[modality]`, [B H W C], and `has/<modality>`, bool [B]."""
    if self.depth not in BLOCKS:
      raise UserError(f"No depth {self.depth}.", exists=map(str, BLOCKS))
    stems = ("cifar", "imagenet")
    if self.stem not in stems:
      raise UserError(f"No stem '{self.stem}'.", exists=stems, near=self.stem)
    rows = inputs.get(f"has/{self.modality}")
    layers = _conv_norm.Layers(
      train, self.axis_name, self.dtype, _init.HE_NORMAL, rows
    )
    outputs = {}
    x = layers.image(inputs[self.modality])
    if self.stem == "imagenet":
      x = layers.conv_norm(x, self.width, 7, 0, stride=2)
      x = _conv_norm.record(outputs, 0, x)
      x = nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
    else:
      x = layers.conv_norm(x, self.width, 3, 0)
      x = _conv_norm.record(outputs, 0, x)
    block = _residual.Basic if self.depth < 50 else _residual.Bottleneck
    for stage, count in enumerate(BLOCKS[self.depth], 1):
      width = self.width * 2 ** (stage - 1)
      for index in range(count):
        stride = 2 if stage > 1 and index == 0 else 1
        name = f"stage{stage}_block{index:02d}"
        preact = block(width, stride, layers, name=name)(x)
        x = nn.relu(preact)
      x = _conv_norm.record(outputs, stage, preact)
    drop = nn.Dropout(self.dropout, deterministic=not train)
    return _conv_norm.finish(outputs, x, self.num_classes, drop)
