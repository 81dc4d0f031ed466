"""A Transformer over patches of a series of numbers."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.models import _encoder, _pool, _series, _windows
from kdjax.models._modality import OneModality
from kdjax.types import Array, Outputs


class Model(OneModality, nn.Module):
  """A pre-norm Transformer over the patches of a series.

  Nie et al., "A time series is worth 64 words: long-term forecasting with
  Transformers" (PatchTST), ICLR 2023, arXiv:2211.14730, Section 3.1, whose
  sizes are the defaults. With `independent`, as there, each channel is a series
  of its own, and all have the same weights; otherwise a patch holds all
  channels. Differs from it: blocks have layer norms, before their branches,
  instead of batch norms after; a last incomplete patch is padded with zeros;
  the classifier reads the mean over patches.

  It ignores padding: a patch is valid if it has a step that the patch before it
  lacks.

  Outputs: embedded [B T D] (the first block's input), block00 .. [B T D],
  attention00 .. and scores00 .. [B heads T T] (after and before the softmax),
  query00 .., key00 .. and value00 .. [B T D] (all heads side by side), tokens
  [B T D], mask/tokens, bool [B T], embedding [B D] (the mean over patches; 0
  without any step), logits [B K]. All are 0 at padding, except scores, which
  are -10000. With `independent`, D and the heads are those of all F channels
  side by side, F times as many.

  Attributes:
    num_classes: K; None omits the logits.
    width: of a patch, D.
    depth: number of blocks.
    heads: number of attention heads; they divide the width.
    inner: hidden width of the MLP.
    patch: steps of a patch.
    stride: of the patches; at most `patch`, which means no overlap.
    length: maximal number of steps.
    independent: whether channels are separate series; otherwise they are mixed.
    normalize: whether each channel of an example gets the mean 0 and the
      variance 1 over its valid steps, as in the paper. Offsets, such as
      gravity, are then lost.
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
  width: int = 128
  depth: int = 3
  heads: int = 16
  inner: int = 256
  patch: int = 16
  stride: int = 8
  length: int = 512
  independent: bool = False
  normalize: bool = False
  dropout: float = 0.0
  modality: str = "sequence"
  remat: bool = False
  fused: bool = False
  axis_name: str | None = None
  dtype: Any = jnp.float32

  LAYERS = (
    ("embedded", "frames", 1),
    ("block{:02d}", "frames", "depth"),
    ("tokens", "frames", 1),
    ("scores{:02d}", "attention", "depth"),
  )

  USES = ("mask", "has")

  @nn.compact
  def __call__(self, inputs: dict[str, Array], *, train: bool) -> Outputs:
    """Reads `inputs[modality]`, [B T F], its mask and `has/<modality>`."""
    drop = lambda x: nn.Dropout(self.dropout)(x, deterministic=not train)
    x, mask = _series.read(inputs, self.modality)
    x = _normalize(x, mask) if self.normalize else x
    B, channels = x.shape[0], x.shape[2] if self.independent else 1
    if self.independent:
      x = jnp.moveaxis(x, 2, 1).reshape(B * channels, -1, 1)
      mask = jnp.repeat(mask, channels, axis=0)
    x, mask = self._embed(x.astype(self.dtype), mask)
    x = drop(x)
    outputs = {"embedded": x}
    blocks = _encoder.Blocks(
      self.depth,
      self.heads,
      self.inner,
      epsilon=1e-5,
      dtype=self.dtype,
      remat=self.remat,
      fused=self.fused,
    )
    x = _encoder.stack(self, blocks, x, mask, outputs, drop)
    x = _encoder.norm(1e-5, self.dtype, "norm")(x)
    outputs["tokens"] = jnp.where(mask[..., None], x, 0)
    outputs = {
      key: _beside(value, channels, 1 if value.ndim == 4 else 2)
      for key, value in outputs.items()
    }
    mask = mask[::channels]
    return _series.finish(
      outputs, outputs["tokens"], mask, self.num_classes, drop
    )

  def _embed(
    self, x: Float[Array, "B t F"], mask: Bool[Array, "B t"]
  ) -> tuple[Float[Array, "B T D"], Bool[Array, "B T"]]:
    """The patches with positions, 0 at padding, and their mask."""
    size, steps = (self.patch, self.stride), x.shape[1]
    _windows.check(*size, steps, self.length, ("series", "steps"))
    T = _windows.count(steps, *size)
    extra = (0, self.patch + (T - 1) * self.stride - steps)
    x = nn.Conv(
      self.width,
      (self.patch,),
      (self.stride,),
      padding="VALID",
      dtype=self.dtype,
      name="patches",
    )(jnp.pad(x, ((0, 0), extra, (0, 0))))
    count = _windows.count(self.length, *size)
    places = self.param("places", _encoder.SMALL, (count, self.width))
    x = x + places[None, :T].astype(self.dtype)
    mask = _windows.valid(jnp.pad(mask, ((0, 0), extra)), *size)
    return jnp.where(mask[..., None], x, 0), mask


def _normalize(
  x: Float[Array, "B T F"], mask: Bool[Array, "B T"]
) -> Float[Array, "B T F"]:
  """Each channel of an example with mean 0 and variance 1; 0 at padding."""
  x = x.astype(jnp.float32)
  valid = mask[..., None]
  centred = jnp.where(valid, x - _pool.mean(x, mask)[:, None], 0)
  variance = _pool.mean(centred**2, mask)[:, None]
  return centred / jnp.sqrt(variance + 1e-5)


def _beside(
  x: Float[Array, "N ..."], channels: int, axis: int
) -> Float[Array, "B ..."]:
  """Channels from the first axis side by side on another one."""
  x = x.reshape(-1, channels, *x.shape[1:])
  x = jnp.moveaxis(x, 1, axis)
  return x.reshape(*x.shape[:axis], -1, *x.shape[axis + 2 :])
