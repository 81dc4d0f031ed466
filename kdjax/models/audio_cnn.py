"""A convolutional network for spectrograms."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.errors import UserError
from kdjax.models import _pool, _spectrogram
from kdjax.models._batch_norm import BatchNorm
from kdjax.models._modality import OneModality
from kdjax.types import Array, Outputs


class Model(OneModality, nn.Module):
  """A CNN over time and frequency, ignoring padding.

  A stage is two times convolution, batch norm and ReLU. A 2x2 max pooling
  between stages halves time and frequency, rounded up. As in Kong et al.,
  "PANNs: Large-Scale Pretrained Audio Neural Networks for Audio Pattern
  Recognition", TASLP 2020, arXiv:1912.10211, Section II, the frequencies are
  averaged before the pooling over time. Differs from PANNs: their halving is
  mean pooling; their final pooling is the sum of mean and max and is followed
  by a dense layer.

  Outputs: stage0 .. [B T F D], preact0 .. [B T F D] (the same before ReLU),
  tokens [B T D] (the last stage's mean over frequencies), mask/tokens, bool
  [B T], embedding [B D] (0 without any frame), logits [B K]. All are 0 at
  padding, and batch statistics are over frames only.

  Attributes:
    num_classes: K; None omits the logits.
    widths: channels of each stage.
    kernel: size of the convolutions, in frames and in frequencies.
    pooling: over time, to the embedding: "mean" or "max".
    dropout: rate; of whole channels between stages, and of the embedding before
      the logits.
    modality: the input's key; padding is where `mask/<modality>` is False.
    axis_name: name of the device axis that shares batch statistics.
    dtype: of the activations.
  """

  num_classes: int | None = None
  widths: tuple = (32, 64)
  kernel: int = 3
  pooling: str = "mean"
  dropout: float = 0.0
  modality: str = "audio"
  axis_name: str | None = None
  dtype: Any = jnp.float32

  LAYERS = (
    ("stage{}", "spectrum", "widths"),
    ("preact{}", "spectrum", "widths"),
    ("params/norm{}b", "norm", "widths"),
  )

  USES = ("mask", "has")

  @nn.compact
  def __call__(self, inputs: dict[str, Array], *, train: bool) -> Outputs:
    """Reads `inputs[modality]`, [B T F], its mask and `has/<modality>`."""
    if self.pooling not in _pool.POOLINGS:
      raise UserError(
        f"No pooling '{self.pooling}'.",
        exists=_pool.POOLINGS,
        near=self.pooling,
      )
    drop = lambda x, axes: nn.Dropout(self.dropout, broadcast_dims=axes)(
      x, deterministic=not train
    )
    outputs = {}
    x, mask = _spectrogram.read(inputs, self.modality)
    x = x[..., None].astype(self.dtype)
    options = {
      "train": train,
      "never_empty": f"has/{self.modality}" not in inputs,
    }
    for stage, width in enumerate(self.widths):
      if stage:
        x, mask = _halve(x, mask)
        x = drop(x, (1, 2))
      for layer in "ab":
        x = self._convolve(x, mask, width, f"{stage}{layer}", **options)
        outputs[f"preact{stage}"] = x
        x = nn.relu(x)
      outputs[f"stage{stage}"] = x
    tokens = outputs["tokens"] = jnp.mean(x, axis=2)
    outputs["mask/tokens"] = mask
    embedding = _pool.POOLINGS[self.pooling](tokens, mask)
    outputs["embedding"] = embedding
    if self.num_classes is not None:
      head = nn.Dense(self.num_classes, name="head")
      outputs["logits"] = head(drop(embedding, ()))
    return outputs

  def _convolve(
    self, x, mask, width, name, **options
  ) -> Float[Array, "B T F D"]:
    """Convolution and batch norm; 0 at padding."""
    x = nn.Conv(
      width,
      (self.kernel, self.kernel),
      use_bias=False,
      dtype=self.dtype,
      name=f"conv{name}",
    )(x)
    norm = BatchNorm(
      axis_name=self.axis_name, dtype=self.dtype, name=f"norm{name}"
    )
    return norm(x, mask, **options)


def _halve(
  x: Float[Array, "B T F D"], mask: Bool[Array, "B T"]
) -> tuple[Float[Array, "B t f D"], Bool[Array, "B t"]]:
  """Max pooling over every 2x2, of values that are not negative.

  An odd last frame is kept and padded with zeros, so that the result does not
  depend on the amount of padding.
  """
  T, F = x.shape[1] % 2, x.shape[2] % 2
  x = jnp.pad(x, ((0, 0), (0, T), (0, F), (0, 0)))
  mask = jnp.pad(mask, ((0, 0), (0, T)))
  x = jnp.maximum(x[:, 0::2], x[:, 1::2])
  x = jnp.maximum(x[:, :, 0::2], x[:, :, 1::2])
  return x, mask[:, 0::2] | mask[:, 1::2]
