"""DINOv2, with or without registers; loads published weights."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import UserError
from kdjax.models import _encoder, _patches
from kdjax.models._modality import OneModality
from kdjax.types import Array, Outputs

POOLINGS = ("cls", "mean", "both")

TYPES = ("dinov2", "dinov2_with_registers")
PREFIXES = ("", "dinov2.", "dinov2_with_registers.")
UNREAD = (r"embeddings\.mask_token", r"classifier\..*")
FRESH = ("head",)


class Model(OneModality, nn.Module):
  """DINOv2: a pre-norm Transformer over image patches, with layer scale.

  Oquab et al., "DINOv2: Learning Robust Visual Features without Supervision",
  TMLR 2024, arXiv:2304.07193; registers: Darcet et al., "Vision Transformers
  Need Registers", ICLR 2024, arXiv:2309.16588. Position embeddings are
  interpolated for images of another size than `image_size`.

  Outputs: embedded [B T D] (the first block's input), block00 .. [B T D],
  attention00 .. and scores00 .. [B heads T T] (after and before the softmax),
  query00 .., key00 .. and value00 .. [B T D] (all heads side by side), tokens
  [B T D] (after the last norm), embedding [B D], logits [B K]. The T tokens are
  the class token, the registers and the patches, row by row; `tokens` has no
  registers.

  Attributes:
    num_classes: K; None omits the logits.
    width: D.
    depth: number of blocks.
    heads: number of attention heads; they divide the width.
    inner: hidden width of a block's MLP.
    gated: whether the MLP is a SwiGLU.
    image_size: height and width, in pixels, of the position embeddings.
    patch: height and width of a patch; an incomplete patch is dropped.
    registers: number of registers, which have no position.
    antialias: interpolates position embeddings with antialiasing.
    activation: of an MLP that is not gated, as named in config.json.
    epsilon: of the layer norms.
    qkv_bias: whether the query, key and value layers have a bias.
    pooling: to the embedding: "cls" (the class token), "mean" over patches, or
      "both" concatenated, which has the size 2D.
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
  width: int = 768
  depth: int = 12
  heads: int = 12
  inner: int = 3072
  gated: bool = False
  image_size: tuple[int, int] = (518, 518)
  patch: int = 14
  registers: int = 0
  antialias: bool = False
  activation: str = "gelu"
  epsilon: float = 1e-6
  qkv_bias: bool = True
  pooling: str = "cls"
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
  NO_PATCHES = ((1, "registers"), ())

  @nn.compact
  def __call__(self, inputs: dict[str, Array], *, train: bool) -> Outputs:
    """Reads `inputs[modality]`, [B H W C]."""
    if self.pooling not in POOLINGS:
      raise UserError(
        f"No pooling '{self.pooling}'.", exists=POOLINGS, near=self.pooling
      )
    drop = lambda x: nn.Dropout(self.dropout)(x, deterministic=not train)
    outputs = {}
    x = drop(self._embed(inputs[self.modality]))
    outputs["embedded"] = x
    mask = jnp.ones(x.shape[:2], bool)
    x = _encoder.stack(self, _blocks(self), x, mask, outputs, drop)
    x = jnp.concatenate([x[:, :1], x[:, 1 + self.registers :]], axis=1)
    x = _encoder.norm(self.epsilon, self.dtype, "norm")(x)
    outputs["tokens"] = x
    x = x.astype(jnp.float32)
    first, mean = x[:, 0], jnp.mean(x[:, 1:], axis=1)
    both = jnp.concatenate([first, mean], axis=-1)
    embedding = {"cls": first, "mean": mean, "both": both}[self.pooling]
    outputs["embedding"] = embedding
    if self.num_classes is not None:
      head = _encoder.dense(self.num_classes, jnp.float32, "head")
      outputs["logits"] = head(drop(embedding))
    return outputs

  def _embed(self, image: Float[Array, "B H W C"]) -> Float[Array, "B T D"]:
    """Class token and patches with positions, and registers."""
    x = _patches.embed(image, self.patch, self.width, self.dtype)
    B, h, w, D = x.shape
    before = _patches.grid(self.image_size, self.patch)
    parameter = lambda name, count: self.param(
      name, _encoder.SMALL, (1, count, D)
    )
    first = jnp.broadcast_to(parameter("cls", 1), (B, 1, D)).astype(self.dtype)
    x = jnp.concatenate([first, x.reshape(B, -1, D)], axis=1)
    places = parameter("places", 1 + before[0] * before[1])[0]
    places = _patches.resize(places, before, (h, w), 1, self.antialias)
    x += places[None].astype(self.dtype)
    if not self.registers:
      return x
    registers = parameter("registers", self.registers).astype(self.dtype)
    registers = jnp.broadcast_to(registers, (B, *registers.shape[1:]))
    return jnp.concatenate([x[:, :1], registers, x[:, 1:]], axis=1)


def _blocks(model: Model) -> _encoder.Blocks:
  """The settings of the blocks."""
  return _encoder.Blocks(
    depth=model.depth,
    heads=model.heads,
    inner=model.inner,
    epsilon=model.epsilon,
    activation="silu" if model.gated else model.activation,
    biases=(model.qkv_bias,) * 3,
    layer_scale=True,
    gated=model.gated,
    dtype=model.dtype,
    remat=model.remat,
    fused=model.fused,
  )


def options(config: Mapping[str, Any]) -> dict[str, Any]:
  """Fields of `Model` from a parsed config.json."""
  _encoder.require(config, hidden_act=_encoder.ACTIVATIONS)
  registers = config.get("model_type") == "dinov2_with_registers"
  classes = _encoder.classes(config)
  width = config.get("hidden_size", 768)
  inner, gated = int(width * config.get("mlp_ratio", 4)), False
  if config.get("use_swiglu_ffn", False):
    # Two thirds, rounded up to a multiple of 8: equally many parameters.
    inner, gated = (int(inner * 2 / 3) + 7) // 8 * 8, True
  return {
    "num_classes": classes,
    "width": width,
    "depth": config.get("num_hidden_layers", 12),
    "heads": config.get("num_attention_heads", 12),
    "inner": inner,
    "gated": gated,
    "image_size": _patches.pair(config.get("image_size", 224)),
    "patch": _patches.patch_size(config, 16 if registers else 14),
    "registers": config.get("num_register_tokens", 4) if registers else 0,
    "antialias": registers,
    "activation": config.get("hidden_act", "gelu"),
    "epsilon": config.get("layer_norm_eps", 1e-6),
    "qkv_bias": config.get("qkv_bias", True),
    "pooling": "cls" if classes is None else "both",
  }


def names(model: Model) -> dict[str, str]:
  """Maps each leaf to the name of its public tensor."""
  layers = {
    "patches/kernel": "embeddings.patch_embeddings.projection",
    "patches/bias": "embeddings.patch_embeddings.projection",
    "cls": "embeddings.cls_token",
    "places": "embeddings.position_embeddings",
    "norm/scale": "layernorm",
    "norm/bias": "layernorm",
  }
  if model.registers:
    layers["registers"] = "embeddings.register_tokens"
  if model.num_classes is not None:
    layers |= {"head/kernel": "classifier", "head/bias": "classifier"}
  layers = {f"params/{leaf}": name for leaf, name in layers.items()}
  ends = ("weights_in", "weights_out") if model.gated else ("fc1", "fc2")
  parts = {
    **_PUBLIC,
    "dense0": f"mlp.{ends[0]}",
    "dense1": f"mlp.{ends[1]}",
  }
  blocks = _encoder.block_names(_blocks(model), "encoder.layer.{}.", parts)
  return _encoder.leaf_names(layers) | blocks


_PUBLIC = {
  "norm0": "norm1",
  "query": "attention.attention.query",
  "key": "attention.attention.key",
  "value": "attention.attention.value",
  "out": "attention.output.dense",
  "scale0": "layer_scale1.lambda1",
  "norm1": "norm2",
  "scale1": "layer_scale2.lambda1",
}
