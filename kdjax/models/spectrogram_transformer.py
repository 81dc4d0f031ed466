"""A Transformer encoder of spectrograms."""

import math
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.errors import ShapeError, UserError
from kdjax.models import _block, _pool, _spectrogram
from kdjax.models._modality import OneModality
from kdjax.types import Array, Outputs


class Model(OneModality, nn.Module):
  """Pre-norm self-attention over the patches of a spectrogram.

  Gong et al., "AST: Audio Spectrogram Transformer", Interspeech 2021,
  arXiv:2104.01778, Section 2.1: square patches that overlap. Differs from it:
  the last patch of time and of frequency is filled up with zeros, where AST
  drops what is left over; the place of a patch is the sum of one of time and
  one of frequency, so that audio of any length up to `length` has one (Koutini
  et al., "Efficient Training of Audio Transformers with Patchout", Interspeech
  2022, arXiv:2110.05069, Section 3); there is no distillation token.

  It is blind to padding: a patch is one where it has a frame that the patch
  before it lacks.

  Outputs: block00 .. [B T D], attention00 .. and scores00 .. [B heads T T]
  (after and before the softmax), query00 .., key00 .. and value00 .. [B T D]
  (all heads side by side), embedded [B T D] (what enters the first block),
  tokens [B T D] and mask/tokens, bool [B T], where these are; embedding [B D],
  logits [B K]. The T tokens are the patches, the frequencies of one time after
  those of the time before, behind the class token where there is one. All are
  0 at padding, but scores, which are -10000 there.

  Attributes:
    num_classes: None leaves out the logits.
    width: D.
    depth: blocks.
    heads: of the attention; they divide the width.
    patch: frames, and frequencies, of a patch.
    stride: from a patch to the next one; at most `patch`, which does not
      overlap.
    length: the most frames that an audio may have.
    pooling: what the embedding is, "mean" over patches (0 without any frame)
      or the class token, "cls".
    dropout: of values: at the input, after every branch, before the logits.
    modality: which key of the inputs it reads; its padding is where
      `mask/<modality>` is False.
    remat: whether the backward pass computes each block's inner values again,
      in place of keeping them.
    fused: whether attention is a fused kernel, where the device has one; its
      maps are then computed beside it, where a term reads them.
    axis_name: unused, it has no batch statistics.
    dtype: of activations.
  """

  num_classes: int | None = None
  width: int = 32
  depth: int = 2
  heads: int = 2
  patch: int = 16
  stride: int = 10
  length: int = 1024
  pooling: str = "mean"
  dropout: float = 0.0
  modality: str = "audio"
  remat: bool = False
  fused: bool = False
  axis_name: str | None = None
  dtype: Any = jnp.float32

  USES = ("mask", "has")

  @nn.compact
  def __call__(self, inputs: dict[str, Array], *, train: bool) -> Outputs:
    """Sees `inputs[modality]`, [B T F], its mask and `has/<modality>`."""
    if self.pooling not in ("mean", "cls"):
      raise UserError(f"No pooling '{self.pooling}'.", exists=("mean", "cls"))
    drop = lambda x: nn.Dropout(self.dropout)(x, deterministic=not train)
    x, mask = self._embed(*_spectrogram.read(inputs, self.modality))
    x = drop(x)
    outputs = {"embedded": x}
    x = _block.stack(self, x, mask, outputs, drop)
    x = nn.LayerNorm(dtype=self.dtype, name="norm")(x)
    x = jnp.where(mask[..., None], x, 0)
    outputs["tokens"] = x
    outputs["mask/tokens"] = mask
    first = x[:, 0].astype(jnp.float32)
    embedding = first if self.pooling == "cls" else _pool.mean(x, mask)
    outputs["embedding"] = embedding
    if self.num_classes is not None:
      head = nn.Dense(self.num_classes, name="head")
      outputs["logits"] = head(drop(embedding))
    return outputs

  def _embed(
    self, x: Float[Array, "B t F"], mask: Bool[Array, "B t"]
  ) -> tuple[Float[Array, "B T D"], Bool[Array, "B T"]]:
    """Patches and the class token, with their places, and where they are."""
    if not 1 <= self.stride <= self.patch:
      raise ShapeError(
        f"Patches of {self.patch} at a stride of {self.stride}.",
        "A stride is 1 at least, and `patch` at most.",
      )
    B, frames, F = x.shape
    if frames > self.length:
      raise ShapeError(
        f"An audio of {frames} frames.",
        f"This network has length={self.length}.",
      )
    T = self._patches(frames)
    more = self.patch + (T - 1) * self.stride - frames
    high = self.patch + (self._patches(F) - 1) * self.stride - F
    x = jnp.pad(x, ((0, 0), (0, more), (0, high)))
    x = nn.Conv(
      self.width,
      (self.patch, self.patch),
      (self.stride, self.stride),
      padding="VALID",
      dtype=self.dtype,
      name="patches",
    )(x[..., None].astype(self.dtype))
    F = x.shape[2]
    place = lambda name, count: self.param(
      name, _block.SMALL, (count, self.width)
    ).astype(self.dtype)
    x = x + place("times", self._patches(self.length))[None, :T, None]
    x = x + place("frequencies", F)[None, None]
    mask = self._mask(jnp.pad(mask, ((0, 0), (0, more))))
    x = jnp.where(mask[..., None, None], x, 0).reshape(B, T * F, self.width)
    mask = jnp.repeat(mask, F, axis=1)
    if self.pooling == "cls":
      token = jnp.broadcast_to(place("cls", 1)[None], (B, 1, self.width))
      x = jnp.concatenate([token, x], axis=1)
      mask = jnp.pad(mask, ((0, 0), (1, 0)), constant_values=True)
    return x, mask

  def _patches(self, size: int) -> int:
    """How many patches hold everything."""
    return math.ceil(max(size - self.patch, 0) / self.stride) + 1

  def _mask(self, mask: Bool[Array, "B t"]) -> Bool[Array, "B T"]:
    """Where patches have frames that the patches before them lack."""
    first = mask[:, : self.patch].any(axis=1)[:, None]
    new = mask[:, self.patch :].reshape(mask.shape[0], -1, self.stride)
    return jnp.concatenate([first, new.any(axis=2)], axis=1)
