"""VGG networks of small images."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from kdjax.errors import UserError
from kdjax.models import _conv_norm, _init, conv
from kdjax.models._modality import OneModality
from kdjax.types import Array, Outputs

# Convolutions of the five stages.
CONVOLUTIONS = {
  8: (1, 1, 1, 1, 1),
  11: (1, 1, 2, 2, 2),
  13: (2, 2, 2, 2, 2),
  16: (2, 2, 3, 3, 3),
  19: (2, 2, 4, 4, 4),
}


class Model(OneModality, nn.Module):
  """A VGG with batch norm and one dense layer: 3x3 convolutions, max pooling.

  Simonyan and Zisserman, "Very deep convolutional networks for large-scale
  image recognition", ICLR 2015, arXiv:1409.1556, Table 1; as RepDistiller has
  it: the mean over positions replaces the first two dense layers, depth 8 is a
  convolution a stage, and the fourth pooling is left out of images lower than
  64. Convolutions start normal with variance 2/fan_out, the head with a
  deviation of 0.01, biases at 0.

  Outputs: stage0 .. stage4 [B H W D] and preact0 .. preact4 (the same before
  ReLU), before the pooling that follows: RepDistiller's feat[0] .. feat[4];
  tokens [B T D] (the positions of stage4), embedding [B D] (their mean,
  feat[5]), logits [B K].

  Attributes:
    num_classes: None leaves out the logits.
    depth: 8, 11, 13, 16 or 19.
    widths: channels of the five stages.
    dropout: of the embedding's values before the logits.
    modality: which key of the inputs it reads.
    axis_name: of the devices that share batch statistics.
    dtype: of activations.
  """

  num_classes: int | None = None
  depth: int = 8
  widths: tuple = (64, 128, 256, 512, 512)
  dropout: float = 0.0
  modality: str = "image"
  axis_name: str | None = None
  dtype: Any = jnp.float32

  USES = ("has",)

  @nn.compact
  def __call__(self, inputs: dict[str, Array], *, train: bool) -> Outputs:
    """Sees `inputs[modality]`, [B H W C], and `has/<modality>`, bool [B]."""
    if self.depth not in CONVOLUTIONS:
      raise UserError(f"No depth {self.depth}.", exists=map(str, CONVOLUTIONS))
    if len(self.widths) != 5:
      raise UserError(f"{len(self.widths)} widths.", "There are five stages.")
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
