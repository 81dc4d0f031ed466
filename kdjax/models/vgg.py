"""VGG networks for small images."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from kdjax.errors import UserError
from kdjax.models import _conv_norm, _init, conv
from kdjax.models._modality import OneModality
from kdjax.types import Array, Outputs

# Convolutions in each of the five stages, by depth.
CONVOLUTIONS = {
  8: (1, 1, 1, 1, 1),
  11: (1, 1, 2, 2, 2),
  13: (2, 2, 2, 2, 2),
  16: (2, 2, 3, 3, 3),
  19: (2, 2, 4, 4, 4),
}


class Model(OneModality, nn.Module):
  """A VGG with batch norm and one dense layer.

  Simonyan and Zisserman, "Very deep convolutional networks for large-scale
  image recognition", ICLR 2015, arXiv:1409.1556, Table 1, as in RepDistiller:
  the mean over positions replaces the first two dense layers, depth 8 has one
  convolution per stage, and images lower than 64 skip the fourth pooling.
  Convolutions are initialized with a normal of variance 2/fan_out, the head
  with a deviation of 0.01, biases with 0.

  Outputs: stage0 .. stage4 [B H W D] and preact0 .. preact4 (the same before
  ReLU), before pooling (RepDistiller's feat[0] .. feat[4]), tokens [B T D] (the
  positions of stage4), embedding [B D] (their mean, feat[5]), logits [B K].

  Attributes:
    num_classes: K; None omits the logits.
    depth: 8, 11, 13, 16 or 19.
    widths: channels of the five stages.
    dropout: rate; of the embedding, before the logits.
    modality: the input's key.
    axis_name: name of the device axis that shares batch statistics.
    dtype: of the activations.
  """

  num_classes: int | None = None
  depth: int = 8
  widths: tuple = (64, 128, 256, 512, 512)
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
    if self.depth not in CONVOLUTIONS:
      raise UserError(f"No depth {self.depth}.", exists=map(str, CONVOLUTIONS))
    if len(self.widths) != 5:
      raise UserError(
        f"A VGG has {len(self.widths)} widths.",
        "Expected five, one per stage.",
      )
    rows = inputs.get(f"has/{self.modality}")
    layers = _conv_norm.Layers(
      train, self.axis_name, self.dtype, _init.HE_NORMAL, rows
    )
    zeros = nn.initializers.zeros
    outputs = {}
    x = layers.image(inputs[self.modality])
    pooled = 4 if x.shape[1] >= 64 else 3
    for stage, width in enumerate(self.widths):
      if 0 < stage <= pooled:
        x = conv._halve(x)
      for index in range(CONVOLUTIONS[self.depth][stage]):
        name = f"{stage}_{index}"
        preact = layers.conv_norm(x, width, 3, name, bias_init=zeros)
        x = nn.relu(preact)
      x = _conv_norm.record(outputs, stage, preact)
    drop = nn.Dropout(self.dropout, deterministic=not train)
    return _conv_norm.finish(
      outputs,
      x,
      self.num_classes,
      drop,
      kernel_init=_init.SMALL,
      bias_init=zeros,
    )
