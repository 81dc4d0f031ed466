"""Encoders projected into one space, as in CLIP."""

import math
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from kdjax.errors import UserError
from kdjax.types import Array, Outputs

# Name of an encoder's embedding: `embedding` is the tower's projected one.
FEATURES = "features"


class Model(nn.Module):
  """Encoders with projections into one space, as in CLIP.

  A tower without its modality in the inputs has no outputs; the others work
  without it. So a network trained on pairs runs on images alone.

  Outputs: `<encoder>/<output>` of each encoder, with its embedding renamed to
  `<encoder>/features`; `<encoder>/embedding` [B D], the projected features, not
  normalized; scale [B], the learned factor of cosines; for the tower that
  classifies, embedding [B D] again and, with classes, logits [B K].

  Radford et al., "Learning Transferable Visual Models From Natural Language
  Supervision", ICML 2021, arXiv:2103.00020, Section 2.4 and 2.5.

  Attributes:
    encoders: name -> network with the output `embedding`.
    num_classes: K; None omits the logits.
    width: D.
    classifies: the encoder that is classified by its embedding.
    temperature: initial value of 1 / scale.
    largest: upper bound of the scale.
    dropout: rate; before the projections and before the logits.
    axis_name: unused; the encoders have their own.
    dtype: of the activations.
  """

  encoders: Any
  num_classes: int | None = None
  width: int = 64
  classifies: str = "image"
  temperature: float = 0.07
  largest: float = 100.0
  dropout: float = 0.0
  axis_name: str | None = None
  dtype: Any = jnp.float32

  @property
  def reads(self) -> tuple[str, ...]:
    """The keys of the inputs that the network may use."""
    keys = [key for name in self._names() for key in self.encoders[name].reads]
    return tuple(dict.fromkeys(keys))

  @property
  def needs(self) -> tuple[str, ...]:
    """No modality is required: each tower works without the others."""
    return ()

  def needs_of(self, output: str) -> tuple[str, ...]:
    """The modalities that an output requires: those of its encoder."""
    part = output.partition("/")[0]
    if part in ("embedding", "logits"):
      part = self.classifies
    return self.encoders[part].needs if part in self.encoders else self.needs

  @nn.compact
  def __call__(self, inputs: dict[str, Array], *, train: bool) -> Outputs:
    """Reads the inputs of its encoders."""
    if self.classifies not in self.encoders:
      raise UserError(
        f"No encoder '{self.classifies}', in the option `classifies`.",
        exists=self._names(),
        near=self.classifies,
      )
    drop = nn.Dropout(self.dropout, deterministic=not train)
    outputs = {}
    for name in self._names():
      encoder = self.encoders[name]
      if any(modality not in inputs for modality in encoder.needs):
        continue
      encoded = dict(encoder(inputs, train=train))
      features = encoded.pop("embedding")
      outputs |= {f"{name}/{key}": value for key, value in encoded.items()}
      outputs[f"{name}/{FEATURES}"] = features
      # No bias, as in CLIP: only directions are compared.
      project = nn.Dense(
        self.width, use_bias=False, dtype=self.dtype, name=f"project_{name}"
      )
      embedding = project(drop(features)).astype(jnp.float32)
      outputs[f"{name}/embedding"] = embedding
    if not outputs:
      raise UserError(
        f"No encoder has its inputs among: {', '.join(inputs)}.",
        "Expected at least one of the modalities.",
        exists=self.reads,
      )
    start = nn.initializers.constant(-math.log(self.temperature))
    scale = jnp.exp(self.param("log_scale", start, ()))
    rows = next(iter(outputs.values())).shape[0]
    outputs["scale"] = jnp.full(rows, jnp.minimum(scale, self.largest))
    if f"{self.classifies}/embedding" in outputs:
      embedding = outputs[f"{self.classifies}/embedding"]
      outputs["embedding"] = embedding
      if self.num_classes is not None:
        classify = nn.Dense(self.num_classes, name="head")
        outputs["logits"] = classify(drop(embedding))
    return outputs

  def _names(self) -> list[str]:
    """The encoders' names, sorted: independent of a config's order."""
    return sorted(self.encoders)
