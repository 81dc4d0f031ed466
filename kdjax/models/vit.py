"""ViT and DeiT; loads published weights."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import UserError
from kdjax.models import _encoder, _patches
from kdjax.models._modality import OneModality
from kdjax.types import Array, Outputs

POOLINGS = ("cls", "mean", "pooler")

TYPES = ("vit", "deit")
PREFIXES = ("", "vit.", "deit.")
UNREAD = (
  r"embeddings\.mask_token",
  r"decoder\..*",
  r"pooler\..*",
  r"(cls_|distillation_)?classifier\..*",
)
FRESH = ("head", "distillation_head", "pooler")


class Model(OneModality, nn.Module):
  """ViT and DeiT: a pre-norm Transformer over the patches of an image.

  ViT (Dosovitskiy et al., ICLR 2021, arXiv:2010.11929), and DeiT with its
  distillation token (Touvron et al., ICML 2021, arXiv:2012.12877). Position
  embeddings are interpolated for images of another size than `image_size`.

  Outputs: embedded [B T D] (the first block's input), block00 .. [B T D],
  attention00 .. and scores00 .. [B heads T T] (after and before the softmax),
  query00 .., key00 .. and value00 .. [B T D] (all heads side by side), tokens
  [B T D] (after the last norm), embedding [B D], pooled [B D] (if there is a
  pooler), logits [B K]. The T tokens are the class token, the distillation
  token, if any, and the patches, row by row.

  A distillation head adds the output distillation_logits [B K], from the
  distillation token. In training, logits are from the embedding, otherwise the
  mean of both.

  Attributes:
    num_classes: K; None omits the logits.
    width: D.
    depth: number of blocks.
    heads: number of attention heads; they divide the width.
    inner: hidden width of a block's MLP.
    image_size: height and width, in pixels, of the position embeddings.
    patch: height and width of a patch; an incomplete patch is dropped.
    activation: of a block's MLP, as named in config.json.
    epsilon: of the layer norms.
    qkv_bias: whether the query, key and value layers have a bias.
    pooling: to the embedding: "cls" (the class token), "mean" over patches or
      "pooler" (`pooled`).
    pooler: whether to add a dense layer with tanh on the class token.
    distillation_token: whether to add one.
    distillation_head: whether to classify the distillation token.
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
  image_size: tuple[int, int] = (224, 224)
  patch: int = 16
  activation: str = "gelu"
  epsilon: float = 1e-12
  qkv_bias: bool = True
  pooling: str = "cls"
  pooler: bool = False
  distillation_token: bool = False
  distillation_head: bool = False
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
  NO_PATCHES = ((1, "distillation_token"), ())

  @nn.compact
  def __call__(self, inputs: dict[str, Array], *, train: bool) -> Outputs:
    """Reads `inputs[modality]`, [B H W C]."""
    if self.pooling not in POOLINGS[: 2 + self.pooler]:
      raise UserError(
        f"No pooling '{self.pooling}' with pooler={self.pooler}.",
        exists=POOLINGS[: 2 + self.pooler],
        near=self.pooling,
      )
    drop = lambda x: nn.Dropout(self.dropout)(x, deterministic=not train)
    outputs = {}
    x = drop(self._embed(inputs[self.modality]))
    outputs["embedded"] = x
    mask = jnp.ones(x.shape[:2], bool)
    x = _encoder.stack(self, _blocks(self), x, mask, outputs, drop)
    x = _encoder.norm(self.epsilon, self.dtype, "norm")(x)
    outputs["tokens"] = x
    x = x.astype(jnp.float32)
    embedding = x[:, 0]
    if self.pooling == "mean":
      embedding = jnp.mean(x[:, 1 + self.distillation_token :], axis=1)
    if self.pooler:
      pooler = _encoder.dense(self.width, jnp.float32, "pooler")
      outputs["pooled"] = jnp.tanh(pooler(x[:, 0]))
      if self.pooling == "pooler":
        embedding = outputs["pooled"]
    outputs["embedding"] = embedding
    if self.num_classes is not None:
      self._classify(embedding, x, outputs, drop, train)
    return outputs

  def _classify(self, embedding, x, outputs, drop, train):
    """Logits of the embedding and of the distillation token."""
    head = lambda name: _encoder.dense(self.num_classes, jnp.float32, name)
    logits = head("head")(drop(embedding))
    if self.distillation_token and self.distillation_head:
      other = head("distillation_head")(drop(x[:, 1]))
      outputs["distillation_logits"] = other
      logits = logits if train else (logits + other) / 2
    outputs["logits"] = logits

  def _embed(self, image: Float[Array, "B H W C"]) -> Float[Array, "B T D"]:
    """Class and distillation token and the patches, with positions."""
    x = _patches.embed(image, self.patch, self.width, self.dtype)
    B, h, w, D = x.shape
    extra = ["cls"] + self.distillation_token * ["distillation"]
    parts = [
      jnp.broadcast_to(self.param(name, _encoder.SMALL, (1, 1, D)), (B, 1, D))
      for name in extra
    ]
    parts = [part.astype(self.dtype) for part in parts]
    x = jnp.concatenate([*parts, x.reshape(B, -1, D)], axis=1)
    before = _patches.grid(self.image_size, self.patch)
    shape = (1, len(extra) + before[0] * before[1], D)
    places = self.param("places", _encoder.SMALL, shape)[0]
    places = _patches.resize(places, before, (h, w), len(extra))
    return x + places[None].astype(self.dtype)


def _blocks(model: Model) -> _encoder.Blocks:
  """The settings of the blocks."""
  return _encoder.Blocks(
    depth=model.depth,
    heads=model.heads,
    inner=model.inner,
    epsilon=model.epsilon,
    activation=model.activation,
    biases=(model.qkv_bias,) * 3,
    dtype=model.dtype,
    remat=model.remat,
    fused=model.fused,
  )


def options(config: Mapping[str, Any]) -> dict[str, Any]:
  """Fields of `Model` from a parsed config.json."""
  width = config.get("hidden_size", 768)
  _encoder.require(
    config,
    hidden_act=_encoder.ACTIVATIONS,
    pooler_act=("tanh",),
    pooler_output_size=(None, width),
  )
  architectures = config.get("architectures") or ("Model",)
  two_heads = any("WithTeacher" in name for name in architectures)
  return {
    "num_classes": _encoder.classes(config),
    "width": width,
    "depth": config.get("num_hidden_layers", 12),
    "heads": config.get("num_attention_heads", 12),
    "inner": config.get("intermediate_size", 3072),
    "image_size": _patches.pair(config.get("image_size", 224)),
    "patch": _patches.patch_size(config, 16),
    "activation": config.get("hidden_act", "gelu"),
    "epsilon": config.get("layer_norm_eps", 1e-12),
    "qkv_bias": config.get("qkv_bias", True),
    "pooler": any(name.endswith("Model") for name in architectures),
    "distillation_token": config.get("model_type") == "deit",
    "distillation_head": two_heads,
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
  if model.distillation_token:
    layers["distillation"] = "embeddings.distillation_token"
  dense = {}
  if model.pooler:
    dense["pooler"] = "pooler.dense"
  if model.num_classes is not None:
    two_heads = model.distillation_token and model.distillation_head
    dense["head"] = "cls_classifier" if two_heads else "classifier"
    if two_heads:
      dense["distillation_head"] = "distillation_classifier"
  for ours, theirs in dense.items():
    layers |= {f"{ours}/kernel": theirs, f"{ours}/bias": theirs}
  layers = {f"params/{leaf}": name for leaf, name in layers.items()}
  blocks = _encoder.block_names(_blocks(model), "encoder.layer.{}.", _PUBLIC)
  return _encoder.leaf_names(layers) | blocks


_PUBLIC = {
  "norm0": "layernorm_before",
  "query": "attention.attention.query",
  "key": "attention.attention.key",
  "value": "attention.attention.value",
  "out": "attention.output.dense",
  "norm1": "layernorm_after",
  "dense0": "intermediate.dense",
  "dense1": "output.dense",
}
