"""A small Transformer encoder of small images."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import ShapeError, UserError
from kdjax.models import _block
from kdjax.models._modality import OneModality
from kdjax.types import Array, Outputs


class Model(OneModality, nn.Module):
  """Pre-norm self-attention over the patches of an image.

  Outputs: block00 .. [B T D], attention00 .. and scores00 .. [B heads T T]
  (after and before the softmax), query00 .., key00 .. and value00 .. [B T D]
  (all heads side by side), embedded [B T D] (what enters the first block),
  tokens [B T D], embedding [B D], logits [B K]. The T tokens are the patches,
  row by row, after the class token and the distillation token where there are
  these.

  With a distillation token (Touvron et al., "Training data-efficient image
  transformers & distillation through attention", ICML 2021, arXiv:2012.12877)
  there are distillation_logits [B K] too, of a classifier on that token; in
  training logits are those of the embedding, otherwise the mean of both.

  Registers (Darcet et al., "Vision Transformers Need Registers", ICLR 2024,
  arXiv:2309.16588) are tokens without a place that blocks may write to: they
  stand behind all others in what is of the blocks, and in `tokens` no more.

  Attributes:
    num_classes: None leaves out the logits.
    width: D.
    depth: blocks.
    heads: of the attention; they divide the width.
    patch: height and width of a patch, which divides those of the image.
    pooling: what the embedding is, "mean" over patches or the class token,
      "cls".
    distillation_token: whether there is one.
    registers: how many there are.
    dropout: of values: at the input, after every branch, before the logits.
    modality: which key of the inputs it reads.
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
  patch: int = 2
  pooling: str = "mean"
  distillation_token: bool = False
  registers: int = 0
  dropout: float = 0.0
  modality: str = "image"
  remat: bool = False
  fused: bool = False
  axis_name: str | None = None
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, inputs: dict[str, Array], *, train: bool) -> Outputs:
    """Sees `inputs[modality]`, [B H W C]."""
    if self.pooling not in ("mean", "cls"):
      raise UserError(f"No pooling '{self.pooling}'.", exists=("mean", "cls"))
    drop = lambda x: nn.Dropout(self.dropout)(x, deterministic=not train)
    extra = (self.pooling == "cls") * ["cls"]
    extra += self.distillation_token * ["distillation"]
    outputs = {}
    x = drop(self._embed(inputs[self.modality], extra))
    outputs["embedded"] = x
    mask = jnp.ones(x.shape[:2], bool)
    x = _block.stack(self, x, mask, outputs, drop)
    x = x[:, : x.shape[1] - self.registers]
    x = nn.LayerNorm(dtype=self.dtype, name="norm")(x)
    outputs["tokens"] = x
    x = x.astype(jnp.float32)
    embedding = (
      x[:, 0] if self.pooling == "cls" else jnp.mean(x[:, len(extra) :], axis=1)
    )
    outputs["embedding"] = embedding
    if self.num_classes is not None:
      logits = nn.Dense(self.num_classes, name="head")(drop(embedding))
      if self.distillation_token:
        head = nn.Dense(self.num_classes, name="distillation_head")
        other = head(drop(x[:, extra.index("distillation")]))
        outputs["distillation_logits"] = other
        logits = logits if train else (logits + other) / 2
      outputs["logits"] = logits
    return outputs

  def _embed(
    self, image: Float[Array, "B H W C"], extra: list[str]
  ) -> Float[Array, "B T D"]:
    """Patches and further tokens with their places, and registers."""
    B, H, W, _ = image.shape
    if H % self.patch or W % self.patch:
      raise ShapeError(
        f"An image of {H}x{W} and patches of {self.patch}x{self.patch}.",
        "They must divide it: set `patch`.",
      )
    size = (self.patch, self.patch)
    patches = nn.Conv(
      self.width, size, size, padding="VALID", dtype=self.dtype, name="patches"
    )(image.astype(self.dtype))
    parts = [
      jnp.broadcast_to(
        self.param(name, _block.SMALL, (self.width,))[None, None],
        (B, 1, self.width),
      ).astype(self.dtype)
      for name in extra
    ]
    x = jnp.concatenate([*parts, patches.reshape(B, -1, self.width)], axis=1)
    places = self.param("places", _block.SMALL, x.shape[1:])
    x = x + places[None].astype(self.dtype)
    if not self.registers:
      return x
    shape = (self.registers, self.width)
    registers = self.param("registers", _block.SMALL, shape).astype(self.dtype)
    registers = jnp.broadcast_to(registers[None], (B, *shape))
    return jnp.concatenate([x, registers], axis=1)
