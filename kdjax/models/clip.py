"""CLIP; loads published weights."""

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
  """CLIP: an image tower and a text tower, projected into one space.

  Radford et al., "Learning Transferable Visual Models From Natural Language
  Supervision", ICML 2021, arXiv:2103.00020. A tower without its
  modality in the inputs has no outputs; the other works without it.

  Outputs of the towers "image" and "text", as `<tower>/<output>`: embedded,
  block00 .., query00 .., key00 .., value00 .. and tokens [B T D], attention00
  .. and scores00 .. [B heads T T], all 0 at padding, except scores, which are
  -10000; features [B D], at the class token or at the end of the text; and
  embedding [B D], the projected features, not normalized. Further outputs:
  scale [B], the learned factor of cosines; for the tower that classifies,
  embedding [B D] again and, with classes, logits [B K].

  Attributes:
    vocabulary: number of token ids.
    num_classes: K; None omits the logits.
    width: D of the embeddings.
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
    length: maximal number of a text's positions.
    end: end-of-text id; None is the highest id of each text.
    activation: of a block's MLP, as named in config.json.
    epsilon: of the layer norms.
    classifies: the tower that is classified by its embedding.
    temperature: initial value of 1 / scale.
    largest: upper bound of the scale.
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
  NO_PATCHES = ((1,), ())

  CAUSAL = True

  @nn.compact
  def __call__(self, inputs: dict[str, Array], *, train: bool) -> Outputs:
    """Reads image [B H W C], text, int [B T], and its mask, bool [B T]."""
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


# Defaults of transformers for keys that a config.json omits.
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
  """Fields of `Model` from a parsed config.json."""
  text = config.get("text_config_dict") or config.get("text_config") or {}
  end = text.get("eos_token_id", 49407)
  return {
    **_pair.options(config, _DEFAULTS),
    "width": config.get("projection_dim", 512),
    # The first published files have 2, but their texts end with another id.
    "end": None if end == 2 else end,
  }


def names(model: Model) -> dict[str, str]:
  """Maps each leaf to the name of its public tensor."""
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
