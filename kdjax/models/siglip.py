"""SigLIP; loads published weights."""

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
  """SigLIP: an image tower and a text tower, trained with a sigmoid loss.

  Zhai et al., "Sigmoid Loss for Language Image Pre-Training", ICCV 2023,
  arXiv:2303.15343. A tower without its modality in the inputs has no outputs;
  the other works without it. SigLIP is trained without a mask: texts are padded
  to `length` positions, which is T in every output of the text tower.

  Outputs of the towers "image" and "text", as `<tower>/<output>`: embedded,
  block00 .., query00 .., key00 .., value00 .. and tokens [B T D], attention00
  .. and scores00 .. [B heads T T], all 0 at padding, except scores, which are
  -10000; features [B D], an attention pooling of the patches or a text's last
  token; and embedding [B D], the features (of texts: projected), not
  normalized. Further outputs: scale [B] and bias [B], the learned factor and
  offset of cosines; for the tower that classifies, embedding [B D] again and,
  with classes, logits [B K].

  Attributes:
    vocabulary: number of token ids.
    num_classes: K; None omits the logits.
    image_width: D of the image tower.
    image_depth: its number of blocks.
    image_heads: its attention heads; they divide the width.
    image_inner: hidden width of its MLPs.
    image_size: height and width, in pixels, of the position embeddings, which
      are interpolated for other sizes.
    patch: height and width of a patch.
    text_width: D of the text tower.
    text_depth: its number of blocks.
    text_heads: its attention heads.
    text_inner: hidden width of its MLPs.
    length: number of a text's positions.
    padding: padding id of texts.
    activation: of a block's MLP, as named in config.json.
    epsilon: of the layer norms.
    classifies: the tower that is classified by its embedding.
    temperature: initial value of 1 / scale.
    dropout: rate; at the input, after every branch, before the projection and
      before the logits.
    remat: recomputes each block's activations in the backward pass instead of
      storing them.
    fused: uses a fused attention kernel where the device has one. Attention
      maps are computed separately if a term reads them.
    axis_name: unused; the network has no batch statistics.
    dtype: of the activations.
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

  LAYERS = (
    ("image/embedded", "patches", 1),
    ("image/block{:02d}", "patches", "image_depth"),
    ("image/tokens", "patches", 1),
    ("image/scores{:02d}", "attention", "image_depth"),
    ("text/embedded", "words", 1),
    ("text/block{:02d}", "words", "text_depth"),
    ("text/tokens", "words", 1),
    ("text/scores{:02d}", "attention", "text_depth"),
  )

  CAUSAL = False

  @nn.compact
  def __call__(self, inputs: dict[str, Array], *, train: bool) -> Outputs:
    """Reads image [B H W C], text, int [B T], and its mask, bool [B T]."""
    # Image features are not projected; texts are projected to their width.
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
    # As in the paper: initially, nearly all pairs are negatives.
    bias = self.param("log_odds", constant(-10.0), (1,))
    outputs["bias"] = jnp.broadcast_to(bias, (rows,))
    return outputs


# Defaults of transformers for keys that a config.json omits.
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
  """Fields of `Model` from a parsed config.json."""
  text, image = config.get("text_config") or {}, config.get("vision_config")
  _encoder.require(image or {}, vision_use_head=(True,))
  fields = _pair.options(config, _DEFAULTS)
  _encoder.require(text, projection_size=(None, fields["image_width"]))
  return {**fields, "padding": text.get("pad_token_id", 1)}


def names(model: Model) -> dict[str, str]:
  """Maps each leaf to the name of its public tensor."""
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
  # PyTorch's attention layer has these names.
  qkv = {
    "params/image/pool_qkv/kernel": f"{head}attention.in_proj_weight",
    "params/image/pool_qkv/bias": f"{head}attention.in_proj_bias",
  }
  return _pair.names(model) | _encoder.leaf_names(layers) | qkv
