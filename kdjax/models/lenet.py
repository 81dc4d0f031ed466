"""LeNet-5, with ReLU and max pooling."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from kdjax.errors import ShapeError, UserError
from kdjax.models import _conv_norm, _init, conv
from kdjax.models._modality import OneModality
from kdjax.types import Array, Outputs


class Model(OneModality, nn.Module):
  """LeNet-5: two convolutions with max pooling and two dense layers.

  LeCun et al., "Gradient-based learning applied to document recognition", Proc.
  IEEE 1998, Section II.B, in today's form: ReLU instead of tanh, max pooling
  instead of learned means, and a second convolution over all maps. The
  initialization is PyTorch's. For images of 28x28x1 and 10 classes it has
  61,706 parameters.

  Outputs: stage0, stage1 [B H W D] and preact0, preact1 (the same before ReLU),
  before pooling; stage2, stage3 [B D] and preact2, preact3, of the dense
  layers; tokens [B T D] (the positions of stage1 after pooling), embedding
  [B D] (stage3), logits [B K].

  Attributes:
    num_classes: K; None omits the logits.
    widths: of the two convolutions and of the two dense layers.
    padding: zeros on each side, for each convolution: (2, 0) for images of
      28x28, (0, 0) for 32x32, (2, 2) for small ones.
    dropout: rate; of the embedding, before the logits.
    modality: the input's key.
    axis_name: unused; the network has no batch statistics.
    dtype: of the activations.
  """

  num_classes: int | None = None
  widths: tuple = (6, 16, 120, 84)
  padding: tuple = (2, 0)
  dropout: float = 0.0
  modality: str = "image"
  axis_name: str | None = None
  dtype: Any = jnp.float32

  LAYERS = (
    ("stage{}", "map", 2),
    ("preact{}", "map", 2),
  )

  @nn.compact
  def __call__(self, inputs: dict[str, Array], *, train: bool) -> Outputs:
    """Reads `inputs[modality]`, [B H W C]."""
    if (len(self.widths), len(self.padding)) != (4, 2):
      raise UserError(
        f"A LeNet has {len(self.widths)} widths and {len(self.padding)}"
        " paddings.",
        "Expected four widths (two convolutions, two dense layers) and two"
        " paddings.",
      )
    layers = _conv_norm.Layers(train, self.axis_name, self.dtype)
    outputs = {}
    x = layers.image(inputs[self.modality])
    for stage, padding in enumerate(self.padding):
      if min(x.shape[1:3]) + 2 * padding < 5:
        raise ShapeError(
          f"A map of {x.shape[1]}x{x.shape[2]} is too small for a 5x5 kernel.",
          "Use more `padding` or larger images.",
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
