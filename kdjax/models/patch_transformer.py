"""A small vision Transformer for small images."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from kdjax.errors import ShapeError, UserError
from kdjax.models import _block, _pool, _visible
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

  With `visible`, hidden patches are not computed in a view that hides some
  (He et al., "Masked Autoencoders Are Scalable Vision Learners", CVPR 2022,
  arXiv:2111.06377). The outputs have visible patches only, and there are
  mask/tokens, bool [B T], and places, int [B V]: the number of each visible
  patch among all P, or P where an example has fewer.

  Attributes:
    num_classes: K; None omits the logits.
    width: D.
    depth: number of blocks.
    heads: number of attention heads; they divide the width.
    patch: height and width of a patch; divides those of the image.
    pooling: to the embedding: "mean" over patches or "cls" (the class token).
    distillation_token: whether to add one.
    registers: number of registers.
    visible: V, the number of patches of an image that are computed in a view
      with `hidden/<modality>`; 0 computes all, and reads no such array.
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
  visible: int = 0
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
    x, mask, places = self._embed(inputs, extra)
    x = drop(x)
    outputs["embedded"] = x
    x = _block.stack(self, x, mask, outputs, drop)
    count = x.shape[1] - self.registers
    x, mask = x[:, :count], mask[:, :count]
    x = nn.LayerNorm(dtype=self.dtype, name="norm")(x)
    if places is not None:
      x = jnp.where(mask[..., None], x, 0)
      outputs |= {"mask/tokens": mask, "places": places}
    outputs["tokens"] = x
    x = x.astype(jnp.float32)
    patches = x[:, len(extra) :]
    if self.pooling == "cls":
      embedding = x[:, 0]
    elif places is None:
      embedding = jnp.mean(patches, axis=1)
    else:
      embedding = _pool.mean(patches, mask[:, len(extra) :])
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
    self, inputs: dict[str, Array], extra: list[str]
  ) -> tuple[
    Float[Array, "B T D"], Bool[Array, "B T"], Int[Array, "B V"] | None
  ]:
    """Tokens and patches with position embeddings, and registers.

    Returns:
      Them, their mask, and the places of visible patches, if some are hidden.
    """
    patches = self._patches(inputs[self.modality].astype(self.dtype))
    B, P, _ = patches.shape
    shape = (len(extra) + P, self.width)
    hidden = inputs.get(f"hidden/{self.modality}") if self.visible else None
    parts = [
      jnp.broadcast_to(
        self.param(name, _block.SMALL, (self.width,))[None, None],
        (B, 1, self.width),
      ).astype(self.dtype)
      for name in extra
    ]
    x = jnp.concatenate([*parts, patches], axis=1)
    x = x + self.param("places", _block.SMALL, shape)[None].astype(self.dtype)
    mask, places = jnp.ones(x.shape[:2], bool), None
    if hidden is not None:
      tokens, x = x[:, : len(extra)], x[:, len(extra) :]
      x, seen, places = _visible.chosen(x, hidden, self.visible)
      x = jnp.concatenate([tokens, x], axis=1)
      mask = jnp.concatenate([mask[:, : len(extra)], seen], axis=1)
    if self.registers:
      shape = (self.registers, self.width)
      registers = self.param("registers", _block.SMALL, shape)
      registers = jnp.broadcast_to(registers[None], (B, *shape))
      x = jnp.concatenate([x, registers.astype(self.dtype)], axis=1)
      mask = jnp.concatenate([mask, jnp.ones(registers.shape[:2], bool)], 1)
    return x, mask, places

  def _patches(self, image: Float[Array, "B H W C"]) -> Float[Array, "B P D"]:
    """The embedded patches, row by row."""
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
    )(image)
    return patches.reshape(B, -1, self.width)
