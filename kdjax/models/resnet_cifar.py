"""ResNets for images of 32x32."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from kdjax.errors import UserError
from kdjax.models import _conv_norm, _init, _residual
from kdjax.models._modality import OneModality
from kdjax.types import Array, Outputs


class Model(OneModality, nn.Module):
  """A ResNet with three stages of basic blocks and projected shortcuts.

  He et al., "Deep residual learning for image recognition", CVPR 2016,
  arXiv:1512.03385, Section 4.2, as in RepDistiller (Tian et al., "Contrastive
  representation distillation", ICLR 2020): shortcuts between stages are
  convolutions. Convolutions are initialized with a normal of variance
  2/fan_out.

  Outputs: stage0 .. stage3 [B H W D] and preact0 .. preact3 (the same before
  ReLU): of the first convolution and of the three stages; the last two halve
  height and width (RepDistiller's feat[0] .. feat[3]). tokens [B T D] (the
  positions of stage3), embedding [B D] (their mean, feat[4]), logits [B K].

  Attributes:
    num_classes: K; None omits the logits.
    depth: 6 n + 2, for n blocks per stage: 8, 14, 20, 32, 44, 56, 110.
    widths: channels of the first convolution and of the three stages;
      (32, 64, 128, 256) for resnet8x4 and resnet32x4.
    dropout: rate; of the embedding, before the logits.
    modality: the input's key.
    remat: recomputes each block's activations in the backward pass instead of
      storing them.
    axis_name: name of the device axis that shares batch statistics.
    dtype: of the activations.
  """

  num_classes: int | None = None
  depth: int = 20
  widths: tuple = (16, 16, 32, 64)
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
    if self.depth < 8 or self.depth % 6 != 2:
      raise UserError(
        f"No CIFAR ResNet has depth={self.depth}.",
        "Depths are 6 n + 2: 8, 14, 20, 32, 44, 56, 110.",
      )
    if len(self.widths) != 4:
      raise UserError(
        f"A CIFAR ResNet has {len(self.widths)} widths.",
        "Expected four: the first convolution and three stages.",
      )
    rows = inputs.get(f"has/{self.modality}")
    layers = _conv_norm.Layers(
      train, self.axis_name, self.dtype, _init.HE_NORMAL, rows
    )
    outputs = {}
    x = layers.image(inputs[self.modality])
    x = layers.conv_norm(x, self.widths[0], 3, 0)
    x = _conv_norm.record(outputs, 0, x)
    block = _residual.maybe_remat(_residual.Basic, self.remat)
    for stage, width in enumerate(self.widths[1:], 1):
      for index in range(self.depth // 6):
        stride = 2 if stage > 1 and index == 0 else 1
        name = f"stage{stage}_block{index:02d}"
        preact = block(width, stride, layers, name=name)(x)
        x = nn.relu(preact)
      x = _conv_norm.record(outputs, stage, preact)
    drop = nn.Dropout(self.dropout, deterministic=not train)
    return _conv_norm.finish(outputs, x, self.num_classes, drop)
