"""What CLIP and SigLIP say and show of their two towers, and public names."""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from kdjax.errors import UserError
from kdjax.models import _encoder, _patches, _towers
from kdjax.models.two_tower import FEATURES
from kdjax.types import Array, Outputs

# Of a block, in both networks and both towers.
_PUBLIC = {
  "norm0": "layer_norm1",
  "query": "self_attn.q_proj",
  "key": "self_attn.k_proj",
  "value": "self_attn.v_proj",
  "out": "self_attn.out_proj",
  "norm1": "layer_norm2",
  "dense0": "mlp.fc1",
  "dense1": "mlp.fc2",
}
TOWERS = {"image": "vision_model.", "text": "text_model."}


class Pair:
  """What a network of the two towers says of its inputs."""

  @property
  def reads(self) -> tuple[str, ...]:
    """The keys of the inputs that it may use."""
    return ("image", "text", "mask/text")

  @property
  def needs(self) -> tuple[str, ...]:
    """Nothing as a whole: every tower stands for itself."""
    return ()

  def needs_of(self, output: str) -> tuple[str, ...]:
    """What an output needs: that of a tower, its modality."""
    part = output.partition("/")[0]
    if part in ("embedding", "logits"):
      part = self.classifies
    return (part,) if part in TOWERS else ()


def encode(
  model: nn.Module,
  inputs: Mapping[str, Array],
  project: Mapping[str, Callable],
  train: bool,
  *,
  class_token: bool,
  last: bool,
  special: int | None,
) -> Outputs:
  """What the towers show whose inputs are there, and what is classified.

  Args:
    model: in whose `nn.compact` method this is called; it `classifies`.
    inputs: of the network.
    project: modality -> what makes features the embedding, if anything does.
    train: whether values are dropped.
    class_token: of the image's tower.
    last: of the text's tower.
    special: of the text's tower.
  """
  towers = _both(model, inputs, class_token, last, special)
  if model.classifies not in towers:
    raise UserError(
      f"No tower '{model.classifies}' to classify by.",
      exists=towers,
      near=model.classifies,
    )
  drop = lambda x: nn.Dropout(model.dropout)(x, deterministic=not train)
  outputs = {}
  for name, tower in towers.items():
    if name not in inputs:
      continue
    features, shown = tower(drop)
    outputs |= {f"{name}/{key}": value for key, value in shown.items()}
    outputs[f"{name}/{FEATURES}"] = features
    embedding = project.get(name, lambda x: x)(drop(features))
    outputs[f"{name}/embedding"] = embedding.astype(jnp.float32)
  if not outputs:
    raise UserError(
      f"No tower has its inputs among: {', '.join(inputs)}.",
      "One modality at least must be there.",
      exists=towers,
    )
  if f"{model.classifies}/embedding" in outputs:
    embedding = outputs[f"{model.classifies}/embedding"]
    outputs["embedding"] = embedding
    if model.num_classes is not None:
      head = _encoder.dense(model.num_classes, jnp.float32, "head")
      outputs["logits"] = head(drop(embedding))
  return outputs


def _both(model, inputs, class_token, last, special) -> dict[str, Callable]:
  """Modality -> what gives features and outputs, of dropout."""
  image = _towers.Image(
    blocks=blocks(model, "image"),
    width=model.image_width,
    image_size=model.image_size,
    patch=model.patch,
    class_token=class_token,
    name="image",
  )
  text = _towers.Text(
    blocks=blocks(model, "text"),
    width=model.text_width,
    vocabulary=model.vocabulary,
    length=model.length,
    last=last,
    special=special,
    name="text",
  )
  return {
    "image": lambda drop: image(inputs["image"], drop),
    "text": lambda drop: text(inputs["text"], inputs.get("mask/text"), drop),
  }


def blocks(model: nn.Module, tower: str) -> _encoder.Blocks:
  """What the blocks of a tower are, by the fields of the network."""
  return _encoder.Blocks(
    depth=getattr(model, f"{tower}_depth"),
    heads=getattr(model, f"{tower}_heads"),
    inner=getattr(model, f"{tower}_inner"),
    epsilon=model.epsilon,
    activation=model.activation,
    causal=model.CAUSAL and tower == "text",
    dtype=model.dtype,
    remat=model.remat,
    fused=model.fused,
  )


def options(
  config: Mapping[str, Any], defaults: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
  """The fields that both networks have, by a parsed config.json.

  Args:
    config: the file.
    defaults: tower -> what its part of the file leaves out.
  """
  parts = {}
  for tower, public in (("image", "vision"), ("text", "text")):
    # Where an old file has both, the one with _dict counts.
    given = config.get(f"{public}_config_dict") or config.get(
      f"{public}_config"
    )
    parts[tower] = {**defaults[tower], **(given or {})}
  image, text = parts["image"], parts["text"]
  _encoder.built(text, hidden_act=_encoder.ACTIVATIONS)
  for key in ("hidden_act", "layer_norm_eps"):
    # One field for both towers, which no published pair needs to be two.
    _encoder.built({key: image[key]}, **{key: (text[key],)})
  keys = {
    "width": "hidden_size",
    "depth": "num_hidden_layers",
    "heads": "num_attention_heads",
    "inner": "intermediate_size",
  }
  return {
    "vocabulary": text["vocab_size"],
    **{
      f"{tower}_{key}": part[public]
      for tower, part in parts.items()
      for key, public in keys.items()
    },
    "image_size": _patches.square(image["image_size"]),
    "patch": _patches.one(image, "patch_size", 16),
    "length": text["max_position_embeddings"],
    "activation": text["hidden_act"],
    "epsilon": text["layer_norm_eps"],
  }


def names(model: nn.Module) -> dict[str, str]:
  """Leaf -> public tensor, of what both networks have."""
  image, text = "params/image/", "params/text/"
  vision, texts = TOWERS["image"], TOWERS["text"]
  found = _encoder.leaf_names(
    {
      f"{image}patches/kernel": f"{vision}embeddings.patch_embedding",
      f"{image}norm/scale": f"{vision}post_layernorm",
      f"{image}norm/bias": f"{vision}post_layernorm",
      f"{image}places": f"{vision}embeddings.position_embedding.weight",
      f"{text}words/embedding": f"{texts}embeddings.token_embedding",
      f"{text}places/embedding": f"{texts}embeddings.position_embedding",
      f"{text}norm/scale": f"{texts}final_layer_norm",
      f"{text}norm/bias": f"{texts}final_layer_norm",
    }
  )
  for tower, public in TOWERS.items():
    found |= _encoder.block_names(
      blocks(model, tower),
      f"{public}encoder.layers.{{}}.",
      _PUBLIC,
      f"{tower}/",
    )
  return found
