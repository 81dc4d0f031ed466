"""SigLIP, which takes published weights."""

import math
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from kdjax.models import _encoder, _pair
from kdjax.types import Array, Outputs

TYPES = ("siglip",)
PREFIXES = ("",)
UNREAD = (r".*\.position_ids", r"classifier\..*")
FRESH = ("head",)


class Model(_pair.Pair, nn.Module):
  """A tower of images and one of texts, whose pairs are judged one by one.

  Zhai et al., "Sigmoid Loss for Language Image Pre-Training", ICCV 2023,
  arXiv:2303.15343. The inputs may lack the modality of a tower: the other's
  outputs are there all the same. It has learned with its padding: texts are
  filled up to `length` positions, which is their T in every output.

  Outputs, of the tower "image" and of "text" as `<tower>/<output>`: embedded,
  block00 .., query00 .., key00 .., value00 .. and tokens [B T D], attention00
  .. and scores00 .. [B heads T T], all 0 at padding, but scores, which are
  -10000 there; features [B D], what attention pools of the patches and the last
  of a text; and `<tower>/embedding`, the latter projected, not yet divided by
  its length. scale [B] and bias [B], learned numbers of which the first
  multiplies cosines and the second is added then, in every row; of the tower
  that classifies, embedding [B D] once more and, if there are classes, logits
  [B K].

  Attributes:
    vocabulary: how many ids there are.
    num_classes: None leaves out the logits.
    image_width: D of the tower of images.
    image_depth: its blocks.
    image_heads: of its attention; they divide the width.
    image_inner: the width between the two dense layers of its blocks.
    image_size: height and width, in pixels, of which the places are; those of
      another size are interpolated.
    patch: height and width of a patch.
    text_width: D of the tower of texts.
    text_depth: its blocks.
    text_heads: of its attention.
    text_inner: the width between the two dense layers of its blocks.
    length: positions of a text.
    padding: the id of what a text is filled up with.
    activation: of the first dense layers, by the name in config.json.
    epsilon: of the norms.
    classifies: the tower whose embedding is classified.
    temperature: 1 / scale, at the start.
    dropout: of values: at the input, after every branch, before the projection
      and before the logits.
    remat: whether the backward pass computes each block's inner values again,
      in place of keeping them.
    fused: whether attention is a fused kernel, where the device has one; its
      maps are then computed beside it, where a term reads them.
    axis_name: unused, it has no batch statistics.
    dtype: of activations.
  """

  vocabulary: int
  num_classes: int | None = None
  image_width: int = 768
  image_depth: int = 12
  image_heads: int = 12
  image_inner: int = 3072
  image_size: tuple[int, int] = (224, 224)
  patch: int = 16
  text_width: int = 768
  text_depth: int = 12
  text_heads: int = 12
  text_inner: int = 3072
  length: int = 64
  padding: int = 1
  activation: str = "gelu_pytorch_tanh"
  epsilon: float = 1e-6
  classifies: str = "image"
  temperature: float = 0.1
  dropout: float = 0.0
  remat: bool = False
  fused: bool = False
  axis_name: str | None = None
  dtype: Any = jnp.float32

  CAUSAL = False

  @nn.compact
  def __call__(self, inputs: dict[str, Array], *, train: bool) -> Outputs:
    """Sees image [B H W C] and text, int [B T], with its mask, bool [B T]."""
    # The images' space is that of their features.
    width = self.image_width
    project = {"text": _encoder.dense(width, self.dtype, "project_text")}
    outputs = _pair.encode(
      self,
      inputs,
      project,
      train,
      class_token=False,
      last=True,
      special=self.padding,
    )
    constant = nn.initializers.constant
    scale = constant(-math.log(self.temperature))
    scale = jnp.exp(self.param("log_scale", scale, (1,)))
    rows = next(iter(outputs.values())).shape[0]
    outputs["scale"] = jnp.broadcast_to(scale, (rows,))
    # As the paper starts: nearly all pairs are none.
    bias = self.param("log_odds", constant(-10.0), (1,))
    outputs["bias"] = jnp.broadcast_to(bias, (rows,))
    return outputs


# What transformers takes where a config.json says nothing.
_BOTH = {
  "hidden_size": 768,
  "num_hidden_layers": 12,
  "num_attention_heads": 12,
  "intermediate_size": 3072,
  "hidden_act": "gelu_pytorch_tanh",
  "layer_norm_eps": 1e-6,
}
_DEFAULTS = {
  "image": {**_BOTH, "image_size": 224, "patch_size": 16},
  "text": {**_BOTH, "vocab_size": 32000, "max_position_embeddings": 64},
}


def options(config: Mapping[str, Any]) -> dict[str, Any]:
  """The fields of `Model` by a parsed config.json."""
  text, image = config.get("text_config") or {}, config.get("vision_config")
  _encoder.built(image or {}, vision_use_head=(True,))
  fields = _pair.options(config, _DEFAULTS)
  _encoder.built(text, projection_size=(None, fields["image_width"]))
  return {**fields, "padding": text.get("pad_token_id", 1)}


def names(model: Model) -> dict[str, str]:
  """Leaf -> public tensor."""
  head = "vision_model.head."
  layers = {
    "image/patches/bias": "vision_model.embeddings.patch_embedding",
    "image/probe": f"{head}probe",
    "project_text/kernel": "text_model.head",
    "project_text/bias": "text_model.head",
    "image/pool_norm/scale": f"{head}layernorm",
    "image/pool_norm/bias": f"{head}layernorm",
    "log_scale": "logit_scale",
    "log_odds": "logit_bias",
  }
  dense = {
    "out": "attention.out_proj",
    "dense0": "mlp.fc1",
    "dense1": "mlp.fc2",
  }
  for ours, theirs in dense.items():
    for leaf in ("kernel", "bias"):
      layers[f"image/pool_{ours}/{leaf}"] = head + theirs
  layers = {f"params/{leaf}": name for leaf, name in layers.items()}
  # PyTorch's own layer, with its own names.
  qkv = {
    "params/image/pool_qkv/kernel": f"{head}attention.in_proj_weight",
    "params/image/pool_qkv/bias": f"{head}attention.in_proj_bias",
  }
  return _pair.names(model) | _encoder.leaf_names(layers) | qkv
