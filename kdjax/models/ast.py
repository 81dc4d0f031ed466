"""AST, the Audio Spectrogram Transformer; loads published weights."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.errors import ShapeError, UserError
from kdjax.models import _encoder, _pool, _spectrogram
from kdjax.models._modality import OneModality
from kdjax.types import Array, Outputs

TYPES = ("audio-spectrogram-transformer",)
PREFIXES = ("", "audio_spectrogram_transformer.")
UNREAD = (r"classifier\..*",)
FRESH = ("head", "head_norm")

# Public name of each part of a block.
PARTS = {
  "norm0": "layernorm_before",
  "query": "attention.attention.query",
  "key": "attention.attention.key",
  "value": "attention.attention.value",
  "out": "attention.output.dense",
  "norm1": "layernorm_after",
  "dense0": "intermediate.dense",
  "dense1": "output.dense",
}


class Model(OneModality, nn.Module):
  """AST: a pre-norm Transformer over the patches of a spectrogram.

  Gong et al., "AST: Audio Spectrogram Transformer", Interspeech 2021,
  arXiv:2104.01778, Section 2.1: overlapping patches after a class token and a
  distillation token; the mean of the two is classified. Differs from it: an
  audio may be shorter than `length`; its patches then have the first position
  embeddings of each frequency. With a mask, padding is ignored; AST treats it
  as silence. For training from scratch, see `spectrogram_transformer`.

  Outputs: embedded [B T D] (the first block's input), block00 .. [B T D],
  attention00 .. and scores00 .. [B heads T T] (after and before the softmax),
  query00 .., key00 .. and value00 .. [B T D] (all heads side by side), tokens
  [B T D], mask/tokens, bool [B T], pooled [B D] (the mean of the first two
  tokens), embedding [B D], logits [B K]. The T tokens are the class token, the
  distillation token and the patches, all times of the first frequency first.
  A patch is valid if its first frame is. All are 0 at padding, except scores,
  which are -10000.

  Attributes:
    num_classes: K; None omits the logits.
    width: D.
    depth: number of blocks.
    heads: number of attention heads; they divide the width.
    inner: hidden width of a block's MLP.
    bins: frequencies of the spectrogram.
    length: maximal number of frames.
    patch: frames and frequencies of a patch.
    strides: of the patches, in frequencies and in frames.
    biases: whether the query, key and value layers have a bias.
    epsilon: of the layer norms.
    activation: of a block's MLP, as named in config.json.
    pooling: to the embedding: "cls" is `pooled`, "mean" is over patches.
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
  inner: int = 64
  bins: int = 128
  length: int = 1024
  patch: int = 16
  strides: tuple = (10, 10)
  biases: bool = True
  epsilon: float = 1e-12
  activation: str = "gelu"
  pooling: str = "cls"
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
    norm = lambda name, x: _encoder.norm(self.epsilon, self.dtype, name)(x)
    x, mask = self._embed(*_spectrogram.read(inputs, self.modality))
    x = drop(x)
    outputs = {"embedded": x}
    x = _encoder.stack(self, _blocks(self), x, mask, outputs, drop)
    x = jnp.where(mask[..., None], norm("norm", x), 0)
    outputs["tokens"], outputs["mask/tokens"] = x, mask
    pooled = jnp.mean(x[:, :2].astype(jnp.float32), axis=1)
    outputs["pooled"] = outputs["embedding"] = pooled
    if self.pooling == "mean":
      outputs["embedding"] = _pool.mean(x[:, 2:], mask[:, 2:])
    if self.num_classes is not None:
      x = _encoder.norm(self.epsilon, jnp.float32, "head_norm")
      x = drop(x(outputs["embedding"]))
      outputs["logits"] = nn.Dense(self.num_classes, name="head")(x)
    return outputs

  def _embed(
    self, x: Float[Array, "B t F"], mask: Bool[Array, "B t"]
  ) -> tuple[Float[Array, "B T D"], Bool[Array, "B T"]]:
    """The two tokens and the patches, with positions, and their mask."""
    B, frames, bins = x.shape
    if bins != self.bins or not self.patch <= frames <= self.length:
      raise ShapeError(
        f"The spectrogram has {frames} frames of {bins} frequencies.",
        f"Expected bins={self.bins} frequencies and between"
        f" patch={self.patch} and length={self.length} frames.",
      )
    x = nn.Conv(
      self.width,
      (self.patch, self.patch),
      self.strides,
      padding="VALID",
      dtype=self.dtype,
      name="patches",
    )(x.swapaxes(1, 2)[..., None].astype(self.dtype))
    F, T = x.shape[1:3]
    extra = [
      self.param(name, _encoder.SMALL, (1, 1, self.width))
      for name in ("cls", "distillation")
    ]
    all_times = (self.length - self.patch) // self.strides[1] + 1
    places = self.param(
      "places", _encoder.SMALL, (1, 2 + F * all_times, self.width)
    )
    positions = places[0, 2:].reshape(F, all_times, self.width)[None, :, :T]
    x = x + positions.astype(self.dtype)
    first = jnp.concatenate(extra, axis=1) + places[:, :2]
    first = jnp.broadcast_to(first, (B, 2, self.width)).astype(self.dtype)
    x = jnp.concatenate([first, x.reshape(B, F * T, self.width)], axis=1)
    # A patch is valid if its first frame is; padding after it is 0.
    mask = mask[:, : 1 + (T - 1) * self.strides[1] : self.strides[1]]
    mask = jnp.pad(
      jnp.tile(mask, (1, F)), ((0, 0), (2, 0)), constant_values=True
    )
    return jnp.where(mask[..., None], x, 0), mask


def options(config: Mapping[str, Any]) -> dict[str, Any]:
  """Fields of `Model` from a parsed config.json.

  Raises:
    UserError: the config has an unsupported value.
  """
  _encoder.require(config, hidden_act=_encoder.ACTIVATIONS)
  if not isinstance(config["patch_size"], int):
    raise UserError(
      f"patch_size={config['patch_size']} in config.json is not supported.",
      "Expected one number: square patches.",
    )
  return {
    "num_classes": _encoder.classes(config),
    "width": config["hidden_size"],
    "depth": config["num_hidden_layers"],
    "heads": config["num_attention_heads"],
    "inner": config["intermediate_size"],
    "bins": config["num_mel_bins"],
    "length": config["max_length"],
    "patch": config["patch_size"],
    "strides": (config["frequency_stride"], config["time_stride"]),
    "biases": config["qkv_bias"],
    "epsilon": config["layer_norm_eps"],
    "activation": config["hidden_act"],
  }


def names(model: Model) -> dict[str, str]:
  """Maps each leaf to the name of its public tensor."""
  parts = _layer("patches", "embeddings.patch_embeddings.projection")
  parts |= _layer("norm", "layernorm", "scale")
  if model.num_classes is not None:
    parts |= _layer("head_norm", "classifier.layernorm", "scale")
    parts |= _layer("head", "classifier.dense")
  return {
    **_encoder.leaf_names(parts),
    "params/cls": "embeddings.cls_token",
    "params/distillation": "embeddings.distillation_token",
    "params/places": "embeddings.position_embeddings",
    **_encoder.block_names(_blocks(model), "encoder.layer.{}.", PARTS),
  }


def example(model: Model) -> dict[str, jax.ShapeDtypeStruct]:
  """An input's shape: a spectrogram of maximal length."""
  shape = (1, model.length, model.bins)
  return {model.modality: jax.ShapeDtypeStruct(shape, jnp.float32)}


def _layer(ours: str, theirs: str, weight: str = "kernel") -> dict[str, str]:
  """The names of a layer's weight and bias."""
  return {f"params/{ours}/{leaf}": theirs for leaf in (weight, "bias")}


def _blocks(model: Model) -> _encoder.Blocks:
  """The settings of the blocks."""
  return _encoder.Blocks(
    depth=model.depth,
    heads=model.heads,
    inner=model.inner,
    epsilon=model.epsilon,
    activation=model.activation,
    biases=(model.biases,) * 3,
    dtype=model.dtype,
    remat=model.remat,
    fused=model.fused,
  )
