"""A convolutional network of spectrograms."""

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
  """Stages of convolution over time and frequency, blind to padding.

  Each is two times convolution, batch norm and ReLU; between stages, time and
  frequency are halved (rounded up) by the greatest of every 2x2. As in Kong et
  al., "PANNs: Large-Scale Pretrained Audio Neural Networks for Audio Pattern
  Recognition", TASLP 2020, arXiv:1912.10211, Section II, the frequencies are
  averaged before what is pooled over time. Differs from it: their halving is a
  mean, their pooling the sum of mean and max, with a dense layer after it.

  Outputs: stage0 .. [B T F D], preact0 .. [B T F D] (the same before ReLU),
  tokens [B T D] (the mean over frequencies in the last stage) and mask/tokens,
  bool [B T], where these are; embedding [B D] (0 without any frame), logits
  [B K]. All are 0 at padding, and batch statistics are of frames alone.

  Attributes:
    num_classes: None leaves out the logits.
    widths: channels, one number a stage.
    kernel: of the convolutions, in frames and in frequencies.
    pooling: what the embedding is, the "mean" or "max" over time.
    dropout: of whole channels between stages, and of the embedding's values
      before the logits.
    modality: which key of the inputs it reads; its padding is where
      `mask/<modality>` is False.
    axis_name: of the devices that share batch statistics.
    dtype: of activations.
  """

  num_classes: int | None = None
  widths: tuple = (32, 64)
  kernel: int = 3
  pooling: str = "mean"
  dropout: float = 0.0
  modality: str = "audio"
  axis_name: str | None = None
  dtype: Any = jnp.float32

  USES = ("mask", "has")

  @nn.compact
  def __call__(self, inputs: dict[str, Array], *, train: bool) -> Outputs:
    """Sees `inputs[modality]`, [B T F], its mask and `has/<modality>`."""
    if self.pooling not in _pool.POOLINGS:
      raise UserError(
        f"No pooling '{self.pooling}'.",
        exists=_pool.POOLINGS,
        near=self.pooling,
      )
    drop = lambda x, over: nn.Dropout(self.dropout, broadcast_dims=over)(
      x, deterministic=not train
    )
    outputs = {}
    x, mask = _spectrogram.read(inputs, self.modality)
    x = x[..., None].astype(self.dtype)
    how = {"train": train, "always": f"has/{self.modality}" not in inputs}
    for stage, width in enumerate(self.widths):
      if stage:
        x, mask = _halve(x, mask)
        x = drop(x, (1, 2))
      for layer in "ab":
        x = self._convolve(x, mask, width, f"{stage}{layer}", **how)
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

  def _convolve(self, x, mask, width, name, **how) -> Float[Array, "B T F D"]:
    """Convolution and batch norm; 0 at padding, which the next one sees."""
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
    return norm(x, mask, **how)


def _halve(
  x: Float[Array, "B T F D"], mask: Bool[Array, "B T"]
) -> tuple[Float[Array, "B t f D"], Bool[Array, "B t"]]:
  """The greatest of every 2x2 of what is nowhere negative.

  An odd last frame stays, beside zeros: it would also if padding followed.
  """
  T, F = x.shape[1] % 2, x.shape[2] % 2
  x = jnp.pad(x, ((0, 0), (0, T), (0, F), (0, 0)))
  mask = jnp.pad(mask, ((0, 0), (0, T)))
  x = jnp.maximum(x[:, 0::2], x[:, 1::2])
  x = jnp.maximum(x[:, :, 0::2], x[:, :, 1::2])
  return x, mask[:, 0::2] | mask[:, 1::2]
