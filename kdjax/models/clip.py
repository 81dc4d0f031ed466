"""CLIP, which takes published weights."""

import math
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from kdjax.models import _encoder, _pair
from kdjax.types import Array, Outputs

TYPES = ("clip",)
PREFIXES = ("", "clip.")
UNREAD = (r".*\.position_ids", r"classifier\..*")
FRESH = ("head",)


class Model(_pair.Pair, nn.Module):
  """A tower of images and one of texts, projected into one space.

  Radford et al., "Learning Transferable Visual Models From Natural Language
  Supervision", ICML 2021, arXiv:2103.00020. The inputs may lack the modality of
  a tower: the other's outputs are there all the same.

  Outputs, of the tower "image" and of "text" as `<tower>/<output>`: embedded,
  block00 .., query00 .., key00 .., value00 .. and tokens [B T D], attention00
  .. and scores00 .. [B heads T T], all 0 at padding, but scores, which are
  -10000 there; features [B D], of the class token and of the end of the text;
  and, projected from these, `<tower>/embedding`, not yet divided by its length.
  scale [B], the learned number that multiplies cosines, in every row; of the
  tower that classifies, embedding [B D] once more and, if there are classes,
  logits [B K].

  Attributes:
    vocabulary: how many ids there are.
    num_classes: None leaves out the logits.
    width: D of the embeddings.
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
    length: the most positions that a text may have.
    end: the id that ends a text; None is the highest id of each.
    activation: of the first dense layers, by the name in config.json.
    epsilon: of the norms.
    classifies: the tower whose embedding is classified.
    temperature: 1 / scale, at the start.
    largest: what the scale is kept at or below.
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
  width: int = 512
  image_width: int = 768
  image_depth: int = 12
  image_heads: int = 12
  image_inner: int = 3072
  image_size: tuple[int, int] = (224, 224)
  patch: int = 32
  text_width: int = 512
  text_depth: int = 12
  text_heads: int = 8
  text_inner: int = 2048
  length: int = 77
  end: int | None = None
  activation: str = "quick_gelu"
  epsilon: float = 1e-5
  classifies: str = "image"
  temperature: float = 0.07
  largest: float = 100.0
  dropout: float = 0.0
  remat: bool = False
  fused: bool = False
  axis_name: str | None = None
  dtype: Any = jnp.float32

  CAUSAL = True

  @nn.compact
  def __call__(self, inputs: dict[str, Array], *, train: bool) -> Outputs:
    """Sees image [B H W C] and text, int [B T], with its mask, bool [B T]."""
    project = {
      name: _encoder.dense(self.width, self.dtype, f"project_{name}", False)
      for name in _pair.TOWERS
    }
    outputs = _pair.encode(
      self,
      inputs,
      project,
      train,
      class_token=True,
      last=False,
      special=self.end,
    )
    start = nn.initializers.constant(-math.log(self.temperature))
    scale = jnp.exp(self.param("log_scale", start, ()))
    rows = next(iter(outputs.values())).shape[0]
    outputs["scale"] = jnp.full(rows, jnp.minimum(scale, self.largest))
    return outputs


# What transformers takes where a config.json says nothing.
_DEFAULTS = {
  "image": {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "image_size": 224,
    "patch_size": 32,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
  },
  "text": {
    "vocab_size": 49408,
    "hidden_size": 512,
    "num_hidden_layers": 12,
    "num_attention_heads": 8,
    "intermediate_size": 2048,
    "max_position_embeddings": 77,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
  },
}


def options(config: Mapping[str, Any]) -> dict[str, Any]:
  """The fields of `Model` by a parsed config.json."""
  text = config.get("text_config_dict") or config.get("text_config") or {}
  end = text.get("eos_token_id", 49407)
  return {
    **_pair.options(config, _DEFAULTS),
    "width": config.get("projection_dim", 512),
    # 2 stands in the first published files, whose texts end with another id.
    "end": None if end == 2 else end,
  }


def names(model: Model) -> dict[str, str]:
  """Leaf -> public tensor."""
  layers = {
    "image/cls": "vision_model.embeddings.class_embedding",
    "image/norm_first/scale": "vision_model.pre_layrnorm",
    "image/norm_first/bias": "vision_model.pre_layrnorm",
    "project_image/kernel": "visual_projection",
    "project_text/kernel": "text_projection",
    "log_scale": "logit_scale",
  }
  layers = {f"params/{leaf}": name for leaf, name in layers.items()}
  return _pair.names(model) | _encoder.leaf_names(layers)
