"""A multilayer perceptron, for inputs of a fixed shape."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from kdjax.errors import UserError
from kdjax.models import _batch_norm, _conv_norm, _init
from kdjax.models._modality import OneModality
from kdjax.types import Array, Outputs

GLOROT = nn.initializers.glorot_uniform()


class Model(OneModality, nn.Module):
  """An MLP: dense layers with ReLU over an example's flattened input.

  Hinton et al., "Distilling the knowledge in a neural network", 2015,
  arXiv:1503.02531, Section 3: the teacher has two layers of 1200 and dropout,
  the student two layers of 800.

  Outputs: stage0 .. [B D] and preact0 .. (the same before ReLU), embedding
  [B D] (the last stage), logits [B K].

  Attributes:
    num_classes: K; None omits the logits.
    widths: of the layers before the logits; () is a linear classifier.
    dropout: rate; after each layer and before the logits.
    start: initialization: "pytorch" (its default), "glorot" (Glorot uniform
      kernels and zero biases, as in Keras; Glorot and Bengio, AISTATS 2010,
      Eq. (16)) or "zeros".
    normalize: whether batch norm over the inputs comes first, so that numbers
      of different units count alike.
    modality: the input's key.
    axis_name: name of the device axis that shares batch statistics.
    dtype: of the activations.
  """

  num_classes: int | None = None
  widths: tuple = (256, 256)
  dropout: float = 0.0
  start: str = "pytorch"
  normalize: bool = False
  modality: str = "image"
  axis_name: str | None = None
  dtype: Any = jnp.float32

  LAYERS = (
    ("stage{}", "vector", "widths"),
    ("preact{}", "vector", "widths"),
  )

  USES = ("has",)

  @nn.compact
  def __call__(self, inputs: dict[str, Array], *, train: bool) -> Outputs:
    """Reads `inputs[modality]`, [B ...], and `has/<modality>`."""
    drop = lambda x: nn.Dropout(self.dropout)(x, deterministic=not train)
    start = _start(self.start)
    outputs = {}
    x = inputs[self.modality].astype(self.dtype)
    x = x.reshape(x.shape[0], -1)
    if self.normalize:
      x = _batch_norm.over_rows(
        x,
        inputs.get(f"has/{self.modality}"),
        train=train,
        axis_name=self.axis_name,
        dtype=self.dtype,
        name="norm",
      )
    for stage, width in enumerate(self.widths):
      x = drop(x) if stage else x
      x = _init.dense(x, width, f"dense{stage}", dtype=self.dtype, **start)
      x = _conv_norm.record(outputs, stage, x)
    embedding = outputs["embedding"] = x.astype(jnp.float32)
    if self.num_classes is not None:
      x = drop(embedding)
      outputs["logits"] = _init.dense(x, self.num_classes, "head", **start)
    return outputs


def _start(name: str) -> dict[str, Any]:
  """Initializers of a dense layer, as arguments of `_init.dense`."""
  zeros = nn.initializers.zeros
  kernels = {
    "pytorch": {},
    "glorot": {"kernel_init": GLOROT, "bias_init": zeros},
    "zeros": {"kernel_init": zeros, "bias_init": zeros},
  }
  if name not in kernels:
    raise UserError(f"No start '{name}'.", exists=kernels, near=name)
  return kernels[name]
