"""A small convolutional network for small images."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import ShapeError
from kdjax.models import _batch_norm
from kdjax.models._modality import OneModality
from kdjax.types import Array, Outputs


class Model(OneModality, nn.Module):
  """A CNN: stages of convolution, batch norm and ReLU, and max pooling.

  Outputs: stage0 .. [B H W D], preact0 .. [B H W D] (the same before ReLU),
  tokens [B T D] (the last stage's positions), embedding [B D] (their mean),
  logits [B K].

  Attributes:
    num_classes: K; None omits the logits.
    widths: channels of each stage. Each stage after stage0 first halves height
      and width, rounding down.
    kernel: height and width of the convolutions.
    dropout: rate; of whole channels after a stage, and of the embedding before
      the logits.
    modality: the input's key.
    axis_name: name of the device axis that shares batch statistics.
    dtype: of the activations.
  """

  num_classes: int | None = None
  widths: tuple = (32, 64)
  kernel: int = 3
  dropout: float = 0.0
  modality: str = "image"
  axis_name: str | None = None
  dtype: Any = jnp.float32

  LAYERS = (
    ("stage{}", "map", "widths"),
    ("preact{}", "map", "widths"),
    ("params/norm{}", "norm", "widths"),
  )

  USES = ("has",)

  @nn.compact
  def __call__(self, inputs: dict[str, Array], *, train: bool) -> Outputs:
    """Reads `inputs[modality]`, [B H W C], and `has/<modality>`, bool [B]."""
    drop = lambda x, axes: nn.Dropout(self.dropout, broadcast_dims=axes)(
      x, deterministic=not train
    )
    outputs = {}
    x = inputs[self.modality].astype(self.dtype)
    rows = inputs.get(f"has/{self.modality}")
    for stage, width in enumerate(self.widths):
      if stage:
        x = drop(_halve(x), (1, 2))
      x = nn.Conv(
        width,
        (self.kernel, self.kernel),
        use_bias=False,
        dtype=self.dtype,
        name=f"conv{stage}",
      )(x)
      x = _batch_norm.over_rows(
        x,
        rows,
        train=train,
        axis_name=self.axis_name,
        dtype=self.dtype,
        name=f"norm{stage}",
        use_fast_variance=True,
      )
      outputs[f"preact{stage}"] = x
      x = outputs[f"stage{stage}"] = nn.relu(x)
    tokens = outputs["tokens"] = x.reshape(x.shape[0], -1, x.shape[-1])
    embedding = jnp.mean(tokens.astype(jnp.float32), axis=1)
    outputs["embedding"] = embedding
    if self.num_classes is not None:
      head = nn.Dense(self.num_classes, name="head")
      outputs["logits"] = head(drop(embedding, ()))
    return outputs


def _halve(x: Float[Array, "B H W C"]) -> Float[Array, "B h w C"]:
  """Max pooling over every 2x2; on a CPU far faster than `nn.max_pool`."""
  height, width = x.shape[1] // 2 * 2, x.shape[2] // 2 * 2
  if not (height and width):
    raise ShapeError(
      f"A map of {x.shape[1]}x{x.shape[2]} cannot be halved.",
      "Use fewer `widths` or larger images.",
    )
  x = x[:, :height, :width]
  x = jnp.maximum(x[:, 0::2], x[:, 1::2])
  return jnp.maximum(x[:, :, 0::2], x[:, :, 1::2])
