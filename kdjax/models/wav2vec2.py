"""Wav2Vec2 and HuBERT, encoders of waveforms, and their public names."""

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

# By part of a block, its public name there.
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
  """Self-attention over frames that convolutions make of a waveform.

  Baevski et al., "wav2vec 2.0: A Framework for Self-Supervised Learning of
  Speech Representations", NeurIPS 2020, arXiv:2006.11477, Section 2, without
  its quantization; Hsu et al., "HuBERT: Self-Supervised Speech Representation
  Learning by Masked Prediction of Hidden Units", TASLP 2021, arXiv:2106.07447,
  is the same network. Nothing is masked in training.

  It is blind to padding, which follows the samples, but for conv_norm "group":
  its mean and variance are over all the time that is given, zeros behind a
  waveform too, as in public implementations.

  Outputs: embedded [B T D] (what enters the first block), block00 .. [B T D],
  attention00 .. and scores00 .. [B heads T T] (after and before the softmax),
  query00 .., key00 .. and value00 .. [B T D] (all heads side by side), tokens
  [B T D] and mask/tokens, bool [B T], where these are; embedding [B D] (the
  mean over tokens; 0 without any), logits [B K]. All are 0 at padding, but
  scores, which are -10000 there.

  Attributes:
    num_classes: None leaves out the logits.
    width: D.
    depth: blocks.
    heads: of the attention; they divide the width.
    inner: the width between the two dense layers of a block.
    channels: of every convolution of the waveform.
    kernels: samples, or frames, that each of them sees.
    strides: from one of its frames to the next.
    conv_norm: "group" (of each channel over time, after the first of them) or
      "layer" (over channels, after every one).
    conv_bias: whether they have a bias.
    conv_activation: theirs, and that of the places.
    frames_norm: whether a norm is of the frames before they are made D wide.
    places: frames that the convolution sees which tells where a frame is.
    groups: of the channels of that convolution.
    norm_first: whether norms are of what enters a branch of a block.
    epsilon: of the norms, but for those of the convolutions.
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

  USES = ("mask", "has")

  @nn.compact
  def __call__(self, inputs: dict[str, Array], *, train: bool) -> Outputs:
    """Sees samples, `inputs[modality]` [B N], their mask and `has/..`."""
    drop = lambda x: nn.Dropout(self.dropout)(x, deterministic=not train)
    norm = lambda name: _encoder.norm(self.epsilon, self.dtype, name)
    x, mask = _waveform.read(inputs, self.modality)
    x, mask = _waveform.frames(self, x, mask)
    if self.frames_norm:
      x = norm("frames_norm")(x)
    x = _encoder.dense(self.width, self.dtype, "frames")(x)
    x = jnp.where(mask[..., None], x, 0)
    x = x + _waveform.placed(self, x)
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
        # Of the mean: it is the mean of the tokens', in one row.
        embedding = nn.Dense(self.projector, name="projector")(embedding)
      outputs["logits"] = nn.Dense(self.num_classes, name="head")(
        drop(embedding)
      )
    return outputs


def options(config: Mapping[str, Any]) -> dict[str, Any]:
  """Fields of `Model`, from a config.json.

  Raises:
    UserError: it says something that is not built here.
  """
  classes = _encoder.classes(config)
  _encoder.built(
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
    # Of HuBERT, and once of no checkpoint.
    "frames_norm": config.get("feat_proj_layer_norm", True),
    "places": config["num_conv_pos_embeddings"],
    "groups": config["num_conv_pos_embedding_groups"],
    "norm_first": config["do_stable_layer_norm"],
    "epsilon": config["layer_norm_eps"],
    "activation": config["hidden_act"],
    "projector": None if classes is None else config["classifier_proj_size"],
  }


def names(model: Model) -> dict[str, str]:
  """Leaf -> its name in checkpoints."""
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
  """What it reads: a second."""
  return {model.modality: jax.ShapeDtypeStruct((1, 16000), jnp.float32)}


def _layer(ours: str, theirs: str, weight: str = "kernel") -> dict[str, str]:
  """The two leaves of a layer."""
  return {f"params/{ours}/{leaf}": theirs for leaf in (weight, "bias")}


def _blocks(model: Model) -> _encoder.Blocks:
  """What its blocks are."""
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
