"""A Transformer encoder for spectrograms."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.errors import UserError
from kdjax.models import _block, _pool, _spectrogram, _visible, _windows
from kdjax.models._modality import OneModality
from kdjax.types import Array, Outputs


class Model(OneModality, nn.Module):
  """A pre-norm Transformer over the patches of a spectrogram.

  Gong et al., "AST: Audio Spectrogram Transformer", Interspeech 2021,
  arXiv:2104.01778, Section 2.1: overlapping square patches. Differs from it:
  incomplete patches at the end are padded with zeros instead of dropped; a
  position embedding is the sum of one for time and one for frequency, so that
  any length up to `length` works (Koutini et al., "Efficient Training of Audio
  Transformers with Patchout", Interspeech 2022, arXiv:2110.05069, Section 3);
  it has no distillation token.

  It ignores padding: a patch is valid if it has a frame that the patch before
  it lacks.

  Outputs: embedded [B T D] (the first block's input), block00 .. [B T D],
  attention00 .. and scores00 .. [B heads T T] (after and before the softmax),
  query00 .., key00 .. and value00 .. [B T D] (all heads side by side), tokens
  [B T D], mask/tokens, bool [B T], embedding [B D], logits [B K]. The T tokens
  are the class token, if any, and the patches, all frequencies of the first
  time first. All are 0 at padding, except scores, which are -10000.

  With `visible`, hidden patches are not computed in a view that hides some
  (Huang et al., "Masked Autoencoders that Listen", NeurIPS 2022,
  arXiv:2207.06405); the outputs have visible patches only, and there is places,
  int [B V]: the number of each visible patch among all P, or P where an example
  has fewer. Then `stride` is `patch`.

  Attributes:
    num_classes: K; None omits the logits.
    width: D.
    depth: number of blocks.
    heads: number of attention heads; they divide the width.
    patch: frames and frequencies of a patch.
    stride: of the patches; at most `patch`, which means no overlap.
    length: maximal number of frames.
    visible: V, the number of patches that are computed in a view with
      `hidden/<modality>`; 0 computes all, and reads no such array.
    pooling: to the embedding: "mean" over patches (0 without any frame) or
      "cls" (the class token).
    dropout: rate; at the input, after every branch and before the logits.
    modality: the input's key; padding is where `mask/<modality>` is False.
    remat: recomputes each block's activations in the backward pass instead of
      storing them.
    fused: uses a fused attention kernel where the device has one. Attention
      maps are computed separately if a term reads them.
    axis_name: unused; the network has no batch statistics.
    dtype: of the activations.
  """

  num_classes: int | None = None
  width: int = 32
  depth: int = 2
  heads: int = 2
  patch: int = 16
  stride: int = 10
  length: int = 1024
  visible: int = 0
  pooling: str = "mean"
  dropout: float = 0.0
  modality: str = "audio"
  remat: bool = False
  fused: bool = False
  axis_name: str | None = None
  dtype: Any = jnp.float32

  LAYERS = (
    ("embedded", "tokens", 1),
    ("block{:02d}", "tokens", "depth"),
    ("tokens", "tokens", 1),
    ("scores{:02d}", "attention", "depth"),
  )

  USES = ("mask", "has")

  @nn.compact
  def __call__(self, inputs: dict[str, Array], *, train: bool) -> Outputs:
    """Reads `inputs[modality]`, [B T F], its mask and `has/<modality>`."""
    if self.pooling not in ("mean", "cls"):
      raise UserError(f"No pooling '{self.pooling}'.", exists=("mean", "cls"))
    drop = lambda x: nn.Dropout(self.dropout)(x, deterministic=not train)
    hidden = inputs.get(f"hidden/{self.modality}") if self.visible else None
    x, mask = self._embed(*_spectrogram.read(inputs, self.modality))
    outputs = {}
    if hidden is not None:
      x, mask, outputs["places"] = _visible.chosen(
        x, hidden, self.visible, mask
      )
    x, mask = self._with_class(x, mask)
    x = drop(x)
    outputs["embedded"] = x
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
    """The patches, with positions, and their mask."""
    B, frames, F = x.shape
    size = (self.patch, self.stride)
    _windows.check(*size, frames, self.length, ("audio", "frames"))
    T = _windows.count(frames, *size)
    pad_time = self.patch + (T - 1) * self.stride - frames
    pad_frequency = (
      self.patch + (_windows.count(F, *size) - 1) * self.stride - F
    )
    x = jnp.pad(x, ((0, 0), (0, pad_time), (0, pad_frequency)))
    x = nn.Conv(
      self.width,
      (self.patch, self.patch),
      (self.stride, self.stride),
      padding="VALID",
      dtype=self.dtype,
      name="patches",
    )(x[..., None].astype(self.dtype))
    F = x.shape[2]
    embedding = lambda name, count: self.param(
      name, _block.SMALL, (count, self.width)
    ).astype(self.dtype)
    x = (
      x + embedding("times", _windows.count(self.length, *size))[None, :T, None]
    )
    x = x + embedding("frequencies", F)[None, None]
    mask = _windows.valid(jnp.pad(mask, ((0, 0), (0, pad_time))), *size)
    x = jnp.where(mask[..., None, None], x, 0).reshape(B, T * F, self.width)
    mask = jnp.repeat(mask, F, axis=1)
    return x, mask

  def _with_class(
    self, x: Float[Array, "B P D"], mask: Bool[Array, "B P"]
  ) -> tuple[Float[Array, "B T D"], Bool[Array, "B T"]]:
    """The patches, with the class token before them if there is one."""
    if self.pooling != "cls":
      return x, mask
    token = self.param("cls", _block.SMALL, (1, self.width))
    token = jnp.broadcast_to(token[None], (x.shape[0], 1, self.width))
    x = jnp.concatenate([token.astype(self.dtype), x], axis=1)
    return x, jnp.pad(mask, ((0, 0), (1, 0)), constant_values=True)
