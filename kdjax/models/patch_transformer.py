"""A small vision Transformer for small images."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import ShapeError, UserError
from kdjax.models import _block
from kdjax.models._modality import OneModality
from kdjax.types import Array, Outputs


class Model(OneModality, nn.Module):
  """A pre-norm Transformer over the patches of an image.

  Outputs: embedded [B T D] (the first block's input), block00 .. [B T D],
  attention00 .. and scores00 .. [B heads T T] (after and before the softmax),
  query00 .., key00 .. and value00 .. [B T D] (all heads side by side), tokens
  [B T D], embedding [B D], logits [B K]. The T tokens are the class token and
  the distillation token, if any, then the patches, row by row.

  A distillation token (Touvron et al., "Training data-efficient image
  transformers & distillation through attention", ICML 2021, arXiv:2012.12877)
  adds the output distillation_logits [B K], from a classifier on that token. In
  training, logits are from the embedding, otherwise the mean of both.

  Registers (Darcet et al., "Vision Transformers Need Registers", ICLR 2024,
  arXiv:2309.16588) are tokens without a position. They follow all others in the
  outputs of the blocks; `tokens` does not contain them.

  Attributes:
    num_classes: K; None omits the logits.
    width: D.
    depth: number of blocks.
    heads: number of attention heads; they divide the width.
    patch: height and width of a patch; divides those of the image.
    pooling: to the embedding: "mean" over patches or "cls" (the class token).
    distillation_token: whether to add one.
    registers: number of registers.
    dropout: rate; at the input, after every branch and before the logits.
    modality: the input's key.
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

  LAYERS = (
    ("embedded", "patches", 1),
    ("block{:02d}", "patches", "depth"),
    ("tokens", "patches", 1),
    ("scores{:02d}", "attention", "depth"),
  )
  NO_PATCHES = ((("pooling", "cls"), "distillation_token"), ("registers",))

  @nn.compact
  def __call__(self, inputs: dict[str, Array], *, train: bool) -> Outputs:
    """Reads `inputs[modality]`, [B H W C]."""
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
    """Tokens and patches with position embeddings, and registers."""
    B, H, W, _ = image.shape
    if H % self.patch or W % self.patch:
      raise ShapeError(
        f"The image of {H}x{W} is not divisible into patches of"
        f" {self.patch}x{self.patch}.",
        "Use another `patch`, or crop or pad the image.",
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
