"""Inputs, outputs, options and public names that CLIP and SigLIP share."""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from kdjax.errors import UserError
from kdjax.models import _encoder, _patches, _towers
from kdjax.models.two_tower import FEATURES
from kdjax.types import Array, Outputs

# Public names of a block's parts, in both networks and both towers.
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
  """Provides `reads` and `needs` for a network of two towers."""

  @property
  def reads(self) -> tuple[str, ...]:
    """The keys of the inputs that the network may use."""
    return ("image", "text", "mask/text")

  @property
  def needs(self) -> tuple[str, ...]:
    """No modality is required: each tower works without the other."""
    return ()

  def needs_of(self, output: str) -> tuple[str, ...]:
    """The modalities that an output requires: that of its tower."""
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
  """Outputs of the towers that have inputs, and logits.

  Args:
    model: the module that calls this in its `nn.compact` method.
    inputs: of the network.
    project: modality -> projection from features to the embedding, if any.
    train: whether to apply dropout.
    class_token: see `_towers.Image`.
    last: see `_towers.Text`.
    special: see `_towers.Text`.
  """
  towers = _both(model, inputs, class_token, last, special)
  if model.classifies not in towers:
    raise UserError(
      f"No tower '{model.classifies}', in the option `classifies`.",
      exists=towers,
      near=model.classifies,
    )
  drop = lambda x: nn.Dropout(model.dropout)(x, deterministic=not train)
  outputs = {}
  for name, tower in towers.items():
    if name not in inputs:
      continue
    features, tower_outputs = tower(drop)
    outputs |= {f"{name}/{key}": x for key, x in tower_outputs.items()}
    outputs[f"{name}/{FEATURES}"] = features
    embedding = project.get(name, lambda x: x)(drop(features))
    outputs[f"{name}/embedding"] = embedding.astype(jnp.float32)
  if not outputs:
    raise UserError(
      f"No tower has its input among the batch's keys: {', '.join(inputs)}.",
      "Expected at least one of the modalities.",
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
  """Modality -> function from dropout to the tower's features and outputs."""
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
  """The settings of a tower's blocks, from the network's fields."""
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
  """The fields that both networks have, from a parsed config.json.

  Args:
    config: the parsed file.
    defaults: tower -> values of keys that its part of the file omits.
  """
  parts = {}
  for tower, public in (("image", "vision"), ("text", "text")):
    # If an old file has both keys, the one with _dict counts.
    part = config.get(f"{public}_config_dict") or config.get(f"{public}_config")
    parts[tower] = {**defaults[tower], **(part or {})}
  image, text = parts["image"], parts["text"]
  _encoder.require(text, hidden_act=_encoder.ACTIVATIONS)
  for key in ("hidden_act", "layer_norm_eps"):
    # One field for both towers: no published pair needs two values.
    _encoder.require({key: image[key]}, **{key: (text[key],)})
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
    "image_size": _patches.pair(image["image_size"]),
    "patch": _patches.patch_size(image, 16),
    "length": text["max_position_embeddings"],
    "activation": text["hidden_act"],
    "epsilon": text["layer_norm_eps"],
  }


def names(model: nn.Module) -> dict[str, str]:
  """Maps the leaves that both networks have to public tensors."""
  image, text = "params/image/", "params/text/"
  vision, texts = TOWERS["image"], TOWERS["text"]
  table = _encoder.leaf_names(
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
    table |= _encoder.block_names(
      blocks(model, tower),
      f"{public}encoder.layers.{{}}.",
      _PUBLIC,
      f"{tower}/",
    )
  return table
