"""Whisper's encoder, for spectrograms; loads published weights."""

import math
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.errors import ShapeError
from kdjax.models import _encoder, _pool, _spectrogram
from kdjax.models._modality import OneModality
from kdjax.types import Array, Outputs

TYPES = ("whisper",)
PREFIXES = ("", "model.")
UNREAD = (
  r"decoder\..*",
  r"(proj_out|projector|classifier)\..*",
  r"layer_weights",
)
FRESH = ("head", "projector")

# Public name of each part of a block.
PARTS = {
  "norm0": "self_attn_layer_norm",
  "query": "self_attn.q_proj",
  "key": "self_attn.k_proj",
  "value": "self_attn.v_proj",
  "out": "self_attn.out_proj",
  "norm1": "final_layer_norm",
  "dense0": "fc1",
  "dense1": "fc2",
}

EPSILON = 1e-5


class Model(OneModality, nn.Module):
  """Whisper's encoder: a pre-norm Transformer over a log-mel spectrogram.

  Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision",
  ICML 2023, arXiv:2212.04356, Section 2.2: two convolutions, the second with
  stride 2, sinusoidal position embeddings and a Transformer. Differs from it:
  audio shorter than 30 seconds needs no padding, and with a mask, padding is
  ignored. Without a mask, padding counts as silence, as in Whisper.

  Outputs: embedded [B T D] (the first block's input), block00 .. [B T D],
  attention00 .. and scores00 .. [B heads T T] (after and before the softmax),
  query00 .., key00 .. and value00 .. [B T D] (all heads side by side), tokens
  [B T D], mask/tokens, bool [B T], embedding [B D] (the mean over tokens; 0
  without any), logits [B K]. A token is valid if the first of its two frames
  is. All are 0 at padding, except scores, which are -10000.

  Attributes:
    num_classes: K; None omits the logits.
    width: D.
    depth: number of blocks.
    heads: number of attention heads; they divide the width.
    inner: hidden width of a block's MLP.
    bins: frequencies of the spectrogram.
    length: maximal number of tokens, of two frames each.
    activation: of a block's MLP, as named in config.json.
    projector: width of a dense layer before the logits; None omits it.
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
  bins: int = 80
  length: int = 1500
  activation: str = "gelu"
  projector: int | None = None
  dropout: float = 0.0
  modality: str = "audio"
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
    x, mask = self._embed(*_spectrogram.read(inputs, self.modality))
    x = drop(x)
    outputs = {"embedded": x}
    x = _encoder.stack(self, _blocks(self), x, mask, outputs, drop)
    x = _encoder.norm(EPSILON, self.dtype, "norm")(x)
    x = jnp.where(mask[..., None], x, 0)
    outputs["tokens"], outputs["mask/tokens"] = x, mask
    embedding = outputs["embedding"] = _pool.mean(x, mask)
    if self.num_classes is not None:
      if self.projector is not None:
        # Linear: projecting the mean equals the mean of projected tokens.
        embedding = nn.Dense(self.projector, name="projector")(embedding)
      head = nn.Dense(self.num_classes, name="head")
      outputs["logits"] = head(drop(embedding))
    return outputs

  def _embed(
    self, x: Float[Array, "B t F"], mask: Bool[Array, "B t"]
  ) -> tuple[Float[Array, "B T D"], Bool[Array, "B T"]]:
    """Tokens with positions, and their mask."""
    if x.shape[2] != self.bins or x.shape[1] > 2 * self.length:
      raise ShapeError(
        f"The spectrogram has {x.shape[1]} frames of {x.shape[2]} frequencies.",
        f"Expected bins={self.bins} frequencies and at most"
        f" {2 * self.length} frames, two per token of length={self.length}.",
      )
    for index, stride in enumerate((1, 2)):
      x = nn.Conv(
        self.width,
        (3,),
        (stride,),
        padding=((1, 1),),
        dtype=self.dtype,
        name=f"conv{index}",
      )(x.astype(self.dtype))
      mask = mask[:, ::stride]
      x = nn.gelu(x, approximate=False)
      # The next convolution also covers padding, so padding must be 0.
      x = jnp.where(mask[..., None], x, 0)
    places = self.param("places", _sinusoids, (self.length, self.width))
    x = x + places[None, : x.shape[1]].astype(self.dtype)
    return jnp.where(mask[..., None], x, 0), mask


def _sinusoids(_, shape, dtype=jnp.float32) -> Float[Array, "T D"]:
  """Sines, then cosines, with wavelengths from 2 pi to 10000 times that."""
  length, width = shape
  half = width // 2
  rates = jnp.exp(-math.log(10000) / max(half - 1, 1) * jnp.arange(half))
  angles = jnp.arange(length)[:, None] * rates[None]
  places = jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=1)
  return jnp.pad(places, ((0, 0), (0, width % 2))).astype(dtype)


def options(config: Mapping[str, Any]) -> dict[str, Any]:
  """Fields of `Model` from a parsed config.json.

  Raises:
    UserError: the config has an unsupported value.
  """
  classes = _encoder.classes(config)
  _encoder.require(
    config,
    activation_function=_encoder.ACTIVATIONS,
    **({} if classes is None else {"use_weighted_layer_sum": (False,)}),
  )
  return {
    "num_classes": classes,
    "width": config["d_model"],
    "depth": config["encoder_layers"],
    "heads": config["encoder_attention_heads"],
    "inner": config["encoder_ffn_dim"],
    "bins": config["num_mel_bins"],
    "length": config["max_source_positions"],
    "activation": config["activation_function"],
    "projector": None if classes is None else config["classifier_proj_size"],
  }


def names(model: Model) -> dict[str, str]:
  """Maps each leaf to the name of its public tensor."""
  parts = _layer("conv0", "encoder.conv1") | _layer("conv1", "encoder.conv2")
  parts |= _layer("norm", "encoder.layer_norm", "scale")
  if model.num_classes is not None:
    parts |= _layer("head", "classifier")
    if model.projector is not None:
      parts |= _layer("projector", "projector")
  return {
    **_encoder.leaf_names(parts),
    "params/places": "encoder.embed_positions.weight",
    **_encoder.block_names(_blocks(model), "encoder.layers.{}.", PARTS),
  }


def example(model: Model) -> dict[str, jax.ShapeDtypeStruct]:
  """An input's shape: a spectrogram of maximal length."""
  shape = (1, 2 * model.length, model.bins)
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
    epsilon=EPSILON,
    activation=model.activation,
    biases=(True, False, True),
    dtype=model.dtype,
    remat=model.remat,
    fused=model.fused,
  )
