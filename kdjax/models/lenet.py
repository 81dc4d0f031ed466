"""LeNet-5, with ReLU and max pooling."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from kdjax.errors import ShapeError, UserError
from kdjax.models import _conv_norm, _init, conv
from kdjax.models._modality import OneModality
from kdjax.types import Array, Outputs


class Model(OneModality, nn.Module):
  """Two convolutions, each halved, and two dense layers.

  LeCun et al., "Gradient-based learning applied to document recognition", Proc.
  IEEE 1998, Section II.B, in the form that is in use: ReLU for tanh, max
  pooling for learned means, all maps seen by the second convolution. All
  parameters start as PyTorch's. Of images of 28x28x1 it has 61,706 parameters
  with 10 classes.

  Outputs: stage0, stage1 [B H W D] and preact0, preact1 (the same before ReLU),
  before the pooling that follows; stage2, stage3 [B D] and preact2, preact3, of
  the dense layers; tokens [B T D] (the positions of stage1 once pooled),
  embedding [B D] (stage3), logits [B K].

  Attributes:
    num_classes: None leaves out the logits.
    widths: of the two convolutions and of the two dense layers.
    padding: rows and columns of zeros on each side, of each convolution: (2, 0)
      for images of 28x28, (0, 0) for 32x32, (2, 2) for small ones.
    dropout: of the embedding's values before the logits.
    modality: which key of the inputs it reads.
    axis_name: unused, it has no batch statistics.
    dtype: of activations.
  """

  num_classes: int | None = None
  widths: tuple = (6, 16, 120, 84)
  padding: tuple = (2, 0)
  dropout: float = 0.0
  modality: str = "image"
  axis_name: str | None = None
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, inputs: dict[str, Array], *, train: bool) -> Outputs:
    """Sees `inputs[modality]`, [B H W C]."""
    if (len(self.widths), len(self.padding)) != (4, 2):
      raise UserError(
        f"{len(self.widths)} widths and {len(self.padding)} paddings.",
        "There are two convolutions and two dense layers.",
      )
    layers = _conv_norm.Layers(train, self.axis_name, self.dtype)
    outputs = {}
    x = layers.image(inputs[self.modality])
    for stage, padding in enumerate(self.padding):
      if min(x.shape[1:3]) + 2 * padding < 5:
        raise ShapeError(
          f"A map of {x.shape[1]}x{x.shape[2]} under a kernel of 5x5.",
          "Give the network more `padding` or larger images.",
        )
      x = layers.conv(
        x,
        self.widths[stage],
        5,
        f"conv{stage}",
        padding=padding,
        bias_init=_init.pytorch_bias(25 * x.shape[-1]),
      )
      x = conv._halve(_conv_norm.record(outputs, stage, x))
    outputs["tokens"] = x.reshape(x.shape[0], -1, x.shape[-1])
    x = x.reshape(x.shape[0], -1)
    for stage in (2, 3):
      name = f"dense{stage - 2}"
      x = _init.dense(x, self.widths[stage], name, dtype=self.dtype)
      x = _conv_norm.record(outputs, stage, x)
    embedding = outputs["embedding"] = x.astype(jnp.float32)
    if self.num_classes is not None:
      drop = nn.Dropout(self.dropout, deterministic=not train)
      outputs["logits"] = _init.dense(drop(embedding), self.num_classes, "head")
    return outputs
