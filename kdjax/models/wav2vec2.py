"""Wav2Vec2 and HuBERT, for waveforms; loads published weights."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from kdjax.models import _encoder, _pool, _waveform
from kdjax.models._modality import OneModality
from kdjax.types import Array, Outputs

TYPES = ("wav2vec2", "hubert")
PREFIXES = ("", "wav2vec2.", "hubert.")
UNREAD = (
  r"masked_spec_embed",
  r"(quantizer|project_q|project_hid|lm_head|projector|classifier)\..*",
)
FRESH = ("head", "projector")

# Public name of each part of a block.
PARTS = {
  "norm0": "layer_norm",
  "query": "attention.q_proj",
  "key": "attention.k_proj",
  "value": "attention.v_proj",
  "out": "attention.out_proj",
  "norm1": "final_layer_norm",
  "dense0": "feed_forward.intermediate_dense",
  "dense1": "feed_forward.output_dense",
}


class Model(OneModality, nn.Module):
  """Wav2Vec2 and HuBERT: a Transformer over the frames of a waveform.

  Baevski et al., "wav2vec 2.0: A Framework for Self-Supervised Learning of
  Speech Representations", NeurIPS 2020, arXiv:2006.11477, Section 2, without
  its quantization. Hsu et al., "HuBERT: Self-Supervised Speech Representation
  Learning by Masked Prediction of Hidden Units", TASLP 2021, arXiv:2106.07447,
  has the same architecture. Training masks no frames.

  Padding must follow the samples and is ignored, except with conv_norm "group":
  as in public implementations, its mean and variance include the zeros after a
  waveform.

  Outputs: embedded [B T D] (the first block's input), block00 .. [B T D],
  attention00 .. and scores00 .. [B heads T T] (after and before the softmax),
  query00 .., key00 .. and value00 .. [B T D] (all heads side by side), tokens
  [B T D], mask/tokens, bool [B T], embedding [B D] (the mean over tokens; 0
  without any), logits [B K]. All are 0 at padding, except scores, which are
  -10000.

  Attributes:
    num_classes: K; None omits the logits.
    width: D.
    depth: number of blocks.
    heads: number of attention heads; they divide the width.
    inner: hidden width of a block's MLP.
    channels: of each convolution over the waveform.
    kernels: their kernel sizes.
    strides: their strides.
    conv_norm: "group" (per channel over time, after the first convolution) or
      "layer" (over channels, after every convolution).
    conv_bias: whether these convolutions have a bias.
    conv_activation: their activation, also that of the position embedding.
    frames_norm: whether to normalize frames before they are projected to D.
    places: kernel size of the convolutional position embedding, in frames.
    groups: channel groups of the position embedding.
    norm_first: pre-norm, otherwise post-norm.
    epsilon: of the norms, except those of the convolutions.
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
  channels: tuple = (32, 32, 32)
  kernels: tuple = (10, 3, 2)
  strides: tuple = (5, 2, 2)
  conv_norm: str = "group"
  conv_bias: bool = False
  conv_activation: str = "gelu"
  frames_norm: bool = True
  places: int = 16
  groups: int = 4
  norm_first: bool = False
  epsilon: float = 1e-5
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
    """Reads `inputs[modality]`, [B N], its mask and `has/<modality>`."""
    drop = lambda x: nn.Dropout(self.dropout)(x, deterministic=not train)
    norm = lambda name: _encoder.norm(self.epsilon, self.dtype, name)
    x, mask = _waveform.read(inputs, self.modality)
    x, mask = _waveform.frames(self, x, mask)
    if self.frames_norm:
      x = norm("frames_norm")(x)
    x = _encoder.dense(self.width, self.dtype, "frames")(x)
    x = jnp.where(mask[..., None], x, 0)
    x = x + _waveform.positions(self, x)
    x = x if self.norm_first else norm("norm")(x)
    x = drop(jnp.where(mask[..., None], x, 0))
    outputs = {"embedded": x}
    x = _encoder.stack(self, _blocks(self), x, mask, outputs, drop)
    x = norm("norm")(x) if self.norm_first else x
    x = jnp.where(mask[..., None], x, 0)
    outputs["tokens"], outputs["mask/tokens"] = x, mask
    embedding = outputs["embedding"] = _pool.mean(x, mask)
    if self.num_classes is not None:
      if self.projector is not None:
        # Linear: projecting the mean equals the mean of projected tokens.
        embedding = nn.Dense(self.projector, name="projector")(embedding)
      outputs["logits"] = nn.Dense(self.num_classes, name="head")(
        drop(embedding)
      )
    return outputs


def options(config: Mapping[str, Any]) -> dict[str, Any]:
  """Fields of `Model` from a parsed config.json.

  Raises:
    UserError: the config has an unsupported value.
  """
  classes = _encoder.classes(config)
  _encoder.require(
    config,
    add_adapter=(False,),
    adapter_attn_dim=(None,),
    conv_pos_batch_norm=(False,),
    hidden_act=_encoder.ACTIVATIONS,
    feat_extract_activation=_encoder.ACTIVATIONS,
    **({} if classes is None else {"use_weighted_layer_sum": (False,)}),
  )
  return {
    "num_classes": classes,
    "width": config["hidden_size"],
    "depth": config["num_hidden_layers"],
    "heads": config["num_attention_heads"],
    "inner": config["intermediate_size"],
    "channels": tuple(config["conv_dim"]),
    "kernels": tuple(config["conv_kernel"]),
    "strides": tuple(config["conv_stride"]),
    "conv_norm": config["feat_extract_norm"],
    "conv_bias": config["conv_bias"],
    "conv_activation": config["feat_extract_activation"],
    # A key of HuBERT alone; older configs omit it.
    "frames_norm": config.get("feat_proj_layer_norm", True),
    "places": config["num_conv_pos_embeddings"],
    "groups": config["num_conv_pos_embedding_groups"],
    "norm_first": config["do_stable_layer_norm"],
    "epsilon": config["layer_norm_eps"],
    "activation": config["hidden_act"],
    "projector": None if classes is None else config["classifier_proj_size"],
  }


def names(model: Model) -> dict[str, str]:
  """Maps each leaf to the name of its public tensor."""
  parts = _layer("frames", "feature_projection.projection")
  parts |= _layer("norm", "encoder.layer_norm", "scale")
  if model.frames_norm:
    parts |= _layer("frames_norm", "feature_projection.layer_norm", "scale")
  for index in range(len(model.channels)):
    ours = f"conv{index:02d}"
    theirs = f"feature_extractor.conv_layers.{index}."
    parts[f"params/{ours}/kernel"] = f"{theirs}conv"
    if model.conv_bias:
      parts[f"params/{ours}/bias"] = f"{theirs}conv"
    if model.conv_norm == "layer" or index == 0:
      parts |= _layer(f"{ours}_norm", f"{theirs}layer_norm", "scale")
  if model.num_classes is not None:
    parts |= _layer("head", "classifier")
    if model.projector is not None:
      parts |= _layer("projector", "projector")
  conv = "encoder.pos_conv_embed.conv."
  return {
    **_encoder.leaf_names(parts),
    "params/places_bias": f"{conv}bias",
    "params/places_g": f"{conv}parametrizations.weight.original0",
    "params/places_v": f"{conv}parametrizations.weight.original1",
    **_encoder.block_names(_blocks(model), "encoder.layers.{}.", PARTS),
  }


def example(model: Model) -> dict[str, jax.ShapeDtypeStruct]:
  """An input's shape: one second of audio."""
  return {model.modality: jax.ShapeDtypeStruct((1, 16000), jnp.float32)}


def _layer(ours: str, theirs: str, weight: str = "kernel") -> dict[str, str]:
  """The names of a layer's weight and bias."""
  return {f"params/{ours}/{leaf}": theirs for leaf in (weight, "bias")}


def _blocks(model: Model) -> _encoder.Blocks:
  """The settings of the blocks."""
  return _encoder.Blocks(
    depth=model.depth,
    heads=model.heads,
    inner=model.inner,
    norm_first=model.norm_first,
    epsilon=model.epsilon,
    activation=model.activation,
    dtype=model.dtype,
    remat=model.remat,
    fused=model.fused,
  )
