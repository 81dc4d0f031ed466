"""An image encoder and a text encoder whose embeddings can be compared."""

import math
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from kdjax.errors import UserError
from kdjax.types import Array, Outputs

# The output of an encoder that its tower's own embedding takes the place of.
FEATURES = "features"


class Model(nn.Module):
  """Encoders side by side, each projected into one space, as in CLIP.

  The inputs may lack the modality of a tower: the others' outputs are there all
  the same, so that a network trained on pairs runs on images alone.

  Outputs: of every encoder `<encoder>/<output>`, its own embedding as
  `<encoder>/features`; `<encoder>/embedding` [B D], projected and not yet
  divided by its length; scale [B], the learned number that multiplies cosines,
  in every row; of the tower that classifies, embedding [B D] once more and, if
  there are classes, logits [B K].

  Radford et al., "Learning Transferable Visual Models From Natural Language
  Supervision", ICML 2021, arXiv:2103.00020, Section 2.4 and 2.5.

  Attributes:
    encoders: name -> network that gives `embedding`.
    num_classes: K; None is no classifier.
    width: D.
    classifies: the encoder whose embedding is classified.
    temperature: 1 / scale, at the start.
    largest: what the scale is kept at or below.
    dropout: of values, of what is projected and of what is classified.
    axis_name: unused here; the encoders have their own.
    dtype: of activations.
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
    """The keys of the inputs that it may use."""
    keys = [key for name in self._names() for key in self.encoders[name].reads]
    return tuple(dict.fromkeys(keys))

  @property
  def needs(self) -> tuple[str, ...]:
    """Nothing as a whole: every tower stands for itself."""
    return ()

  def needs_of(self, output: str) -> tuple[str, ...]:
    """What an output needs: that of a tower, what its encoder does."""
    part = output.partition("/")[0]
    if part in ("embedding", "logits"):
      part = self.classifies
    return self.encoders[part].needs if part in self.encoders else self.needs

  @nn.compact
  def __call__(self, inputs: dict[str, Array], *, train: bool) -> Outputs:
    """Sees what its encoders read."""
    if self.classifies not in self.encoders:
      raise UserError(
        f"No encoder '{self.classifies}' to classify by.",
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
      # A projection into a space of directions has no use for a bias.
      project = nn.Dense(
        self.width, use_bias=False, dtype=self.dtype, name=f"project_{name}"
      )
      embedding = project(drop(features)).astype(jnp.float32)
      outputs[f"{name}/embedding"] = embedding
    if not outputs:
      raise UserError(
        f"No encoder has its inputs among: {', '.join(inputs)}.",
        "One modality at least must be there.",
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
    """The encoders, in an order that no config changes."""
    return sorted(self.encoders)
