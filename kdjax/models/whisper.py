"""Whisper's encoder of spectrograms, and its public names."""

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

# By part of a block, its public name there.
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
  """Pre-norm self-attention over a log-mel spectrogram of half its length.

  Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision",
  ICML 2023, arXiv:2212.04356, Section 2.2: two convolutions, the second of
  stride 2, sinusoids as places, a Transformer. Differs from it: what is shorter
  than 30 seconds need not be filled up, and where there is a mask, it is blind
  to padding; Whisper sees its silence, as this does without a mask.

  Outputs: embedded [B T D] (what enters the first block), block00 .. [B T D],
  attention00 .. and scores00 .. [B heads T T] (after and before the softmax),
  query00 .., key00 .. and value00 .. [B T D] (all heads side by side), tokens
  [B T D] and mask/tokens, bool [B T], where these are; embedding [B D] (the
  mean over tokens; 0 without any), logits [B K]. A token is there where the
  first of its two frames is. All are 0 at padding, but scores, which are -10000
  there.

  Attributes:
    num_classes: None leaves out the logits.
    width: D.
    depth: blocks.
    heads: of the attention; they divide the width.
    inner: the width between the two dense layers of a block.
    bins: frequencies of a spectrogram.
    length: the most tokens, of two frames each.
    activation: of the blocks.
    projector: the width of a dense layer before the logits; None is none.
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

  USES = ("mask", "has")

  @nn.compact
  def __call__(self, inputs: dict[str, Array], *, train: bool) -> Outputs:
    """Sees `inputs[modality]`, [B T F], its mask and `has/<modality>`."""
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
        # Of the mean, in one row: the mean of what it makes of the tokens.
        embedding = nn.Dense(self.projector, name="projector")(embedding)
      head = nn.Dense(self.num_classes, name="head")
      outputs["logits"] = head(drop(embedding))
    return outputs

  def _embed(
    self, x: Float[Array, "B t F"], mask: Bool[Array, "B t"]
  ) -> tuple[Float[Array, "B T D"], Bool[Array, "B T"]]:
    """Tokens with their places, and which of them are there."""
    if x.shape[2] != self.bins or x.shape[1] > 2 * self.length:
      raise ShapeError(
        f"A spectrogram of {x.shape[1]} frames, {x.shape[2]} frequencies each.",
        f"This network has bins={self.bins} and length={self.length}, of two"
        " frames each.",
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
      # What lies at padding is seen by the frame before it.
      x = jnp.where(mask[..., None], x, 0)
    places = self.param("places", _sinusoids, (self.length, self.width))
    x = x + places[None, : x.shape[1]].astype(self.dtype)
    return jnp.where(mask[..., None], x, 0), mask


def _sinusoids(_, shape, dtype=jnp.float32) -> Float[Array, "T D"]:
  """Sines, then cosines, of wavelengths from 2 pi to 10000 times that."""
  length, width = shape
  half = width // 2
  rates = jnp.exp(-math.log(10000) / max(half - 1, 1) * jnp.arange(half))
  angles = jnp.arange(length)[:, None] * rates[None]
  places = jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=1)
  return jnp.pad(places, ((0, 0), (0, width % 2))).astype(dtype)


def options(config: Mapping[str, Any]) -> dict[str, Any]:
  """Fields of `Model`, from a config.json.

  Raises:
    UserError: it says something that is not built here.
  """
  classes = _encoder.classes(config)
  _encoder.built(
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
  """Leaf -> public tensor."""
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
  """What it reads: as much as it can."""
  shape = (1, 2 * model.length, model.bins)
  return {model.modality: jax.ShapeDtypeStruct(shape, jnp.float32)}


def _layer(ours: str, theirs: str, weight: str = "kernel") -> dict[str, str]:
  """The two leaves of a layer."""
  return {f"params/{ours}/{leaf}": theirs for leaf in (weight, "bias")}


def _blocks(model: Model) -> _encoder.Blocks:
  """What its blocks are."""
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
