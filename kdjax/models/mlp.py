"""Dense layers, of anything of one size."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from kdjax.errors import UserError
from kdjax.models import _conv_norm, _init
from kdjax.models._modality import OneModality
from kdjax.types import Array, Outputs

GLOROT = nn.initializers.glorot_uniform()


class Model(OneModality, nn.Module):
  """Dense layers with ReLU, over all numbers of an example in a row.

  Two layers of 1200 with dropout are the teacher, two of 800 the student of
  Hinton et al., "Distilling the knowledge in a neural network", 2015,
  arXiv:1503.02531, Section 3.

  Outputs: stage0 .. [B D] and preact0 .. (the same before ReLU), embedding
  [B D] (the last of them), logits [B K].

  Attributes:
    num_classes: None leaves out the logits.
    widths: of the layers before the logits; () leaves a linear classifier.
    dropout: of values, after each layer and before the logits.
    start: of the parameters: "pytorch", as PyTorch's; "glorot", uniform by the
      sum of the fans and biases of 0, as Keras' (Glorot and Bengio, AISTATS
      2010, Eq. (16)); "zeros".
    modality: which key of the inputs it reads.
    axis_name: unused, it has no batch statistics.
    dtype: of activations.
  """

  num_classes: int | None = None
  widths: tuple = (256, 256)
  dropout: float = 0.0
  start: str = "pytorch"
  modality: str = "image"
  axis_name: str | None = None
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, inputs: dict[str, Array], *, train: bool) -> Outputs:
    """Sees `inputs[modality]`, [B ...]."""
    drop = lambda x: nn.Dropout(self.dropout)(x, deterministic=not train)
    start = _start(self.start)
    outputs = {}
    x = inputs[self.modality].astype(self.dtype)
    x = x.reshape(x.shape[0], -1)
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
  """The options of a dense layer that starts so."""
  zeros = nn.initializers.zeros
  kernels = {
    "pytorch": {},
    "glorot": {"kernel_init": GLOROT, "bias_init": zeros},
    "zeros": {"kernel_init": zeros, "bias_init": zeros},
  }
  if name not in kernels:
    raise UserError(f"No start '{name}'.", exists=kernels, near=name)
  return kernels[name]
