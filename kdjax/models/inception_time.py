"""InceptionTime: parallel convolutions of several lengths over time."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.models import _conv_norm, _series
from kdjax.models._modality import OneModality
from kdjax.types import Array, Outputs

# Modules between two shortcuts.
RESIDUAL = 3


class Model(OneModality, nn.Module):
  """One network of InceptionTime: inception modules with shortcuts.

  A module has a bottleneck (a 1x1 convolution, if there is more than one
  channel), three convolutions of it side by side, a 1x1 convolution of the
  maximum over 3 steps of the module's input, batch norm and ReLU. A shortcut
  adds the input of three modules, through a 1x1 convolution and batch norm.

  Ismail Fawaz et al., "InceptionTime: Finding AlexNet for time series
  classification", Data Mining and Knowledge Discovery 2020, arXiv:1909.04939,
  Section 3, as in the authors' code; the paper's classifier is the mean of five
  such networks. A module that reads C channels has, for kernels k,

    bottleneck (C + width (k0 + k1 + k2)) + width C + 8 width

  parameters, and a shortcut from C channels 4 width C + 8 width.

  Outputs: stage0 .. [B T D] and preact0 .. (the same before ReLU), of the
  modules, with the shortcut of every third; tokens [B T D] (the last stage),
  mask/tokens, bool [B T], embedding [B D] (the mean over tokens; 0 without any
  step), logits [B K]. D is 4 width. All are 0 at padding, and batch statistics
  are over valid steps only.

  Attributes:
    num_classes: K; None omits the logits.
    depth: number of modules.
    width: filters of each convolution.
    bottleneck: channels that the convolutions read; 0 is without bottleneck.
    kernels: lengths of the convolutions side by side, in steps.
    dropout: rate; of the embedding, before the logits.
    modality: the input's key; padding is where `mask/<modality>` is False.
    axis_name: name of the device axis that shares batch statistics.
    dtype: of the activations.
  """

  num_classes: int | None = None
  depth: int = 6
  width: int = 32
  bottleneck: int = 32
  kernels: tuple = (40, 20, 10)
  dropout: float = 0.0
  modality: str = "sequence"
  axis_name: str | None = None
  dtype: Any = jnp.float32

  LAYERS = (
    ("stage{}", "steps", "depth"),
    ("preact{}", "steps", "depth"),
  )

  USES = ("mask", "has")

  @nn.compact
  def __call__(self, inputs: dict[str, Array], *, train: bool) -> Outputs:
    """Reads `inputs[modality]`, [B T F], its mask and `has/<modality>`."""
    layers = _series.layers(self, inputs, train, _series.GLOROT)
    outputs = {}
    x, mask = _series.read(inputs, self.modality)
    x = shortcut = x.astype(self.dtype)
    for stage in range(self.depth):
      preact = self._module(layers, x, mask, stage)
      if stage % RESIDUAL == RESIDUAL - 1:
        name = f"{stage}_shortcut"
        width = preact.shape[-1]
        added = layers.conv_norm(shortcut, mask, width, 1, name)
        preact = nn.relu(preact) + added
        shortcut = nn.relu(preact)
      x = _conv_norm.record(outputs, stage, preact)
    drop = nn.Dropout(self.dropout, deterministic=not train)
    return _series.finish(outputs, x, mask, self.num_classes, drop)

  def _module(
    self,
    layers: _series.Layers,
    x: Float[Array, "B T C"],
    mask: Bool[Array, "B T"],
    stage: int,
  ) -> Float[Array, "B T D"]:
    """An inception module, before its ReLU."""
    y = x
    if self.bottleneck and x.shape[-1] > 1:
      y = layers.conv(x, self.bottleneck, 1, f"conv{stage}_bottleneck")
    parts = [
      layers.conv(y, self.width, size, f"conv{stage}_{index}")
      for index, size in enumerate(self.kernels)
    ]
    pooled = _maximum(x, mask)
    parts.append(layers.conv(pooled, self.width, 1, f"conv{stage}_pooled"))
    return layers.norm(jnp.concatenate(parts, -1), mask, f"norm{stage}")


def _maximum(
  x: Float[Array, "B T C"], mask: Bool[Array, "B T"]
) -> Float[Array, "B T C"]:
  """The maximum over the valid steps among three; 0 at padding."""
  valid = mask[..., None]
  # A finite floor keeps gradients finite.
  floor = jnp.asarray(-1e30, x.dtype)
  y = jnp.pad(
    jnp.where(valid, x, floor), ((0, 0), (1, 1), (0, 0)), constant_values=floor
  )
  y = jnp.maximum(jnp.maximum(y[:, :-2], y[:, 1:-1]), y[:, 2:])
  return jnp.where(valid, y, 0)
