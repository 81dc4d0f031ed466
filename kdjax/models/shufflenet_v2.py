"""ShuffleNetV2 for small images."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from kdjax.errors import UserError
from kdjax.models import _conv_norm
from kdjax.models._modality import OneModality
from kdjax.types import Array, Outputs


class Model(OneModality, nn.Module):
  """ShuffleNetV2: half of the channels are convolved, then shuffled.

  Ma et al., "ShuffleNet V2: practical guidelines for efficient CNN architecture
  design", ECCV 2018, arXiv:1807.11164, Table 5, as in RepDistiller: the stem is
  a 1x1 convolution without pooling. The initialization is PyTorch's.

  Outputs: stage0 .. stage3 [B H W D] and preact0 .. preact3 (the same before
  ReLU): of the stem and of the three stages, which halve height and width
  (RepDistiller's feat[0] .. feat[3]; its features before ReLU are not yet
  shuffled). tokens [B T D] (the last convolution's positions), embedding [B D]
  (their mean, feat[4]), logits [B K].

  Attributes:
    num_classes: K; None omits the logits.
    widths: channels of the three stages, even, and of the last convolution:
      (48, 96, 192, 1024) for size 0.5, (176, 352, 704, 1024) for 1.5, (244,
      488, 976, 2048) for 2.
    blocks: number of blocks of each stage, after the one that halves.
    dropout: rate; of the embedding, before the logits.
    modality: the input's key.
    axis_name: name of the device axis that shares batch statistics.
    dtype: of the activations.
  """

  num_classes: int | None = None
  widths: tuple = (116, 232, 464, 1024)
  blocks: tuple = (3, 7, 3)
  dropout: float = 0.0
  modality: str = "image"
  axis_name: str | None = None
  dtype: Any = jnp.float32

  LAYERS = (
    ("stage{}", "map", (1, "blocks")),
    ("preact{}", "map", (1, "blocks")),
  )

  USES = ("has",)

  @nn.compact
  def __call__(self, inputs: dict[str, Array], *, train: bool) -> Outputs:
    """Reads `inputs[modality]`, [B H W C], and `has/<modality>`, bool [B]."""
    if len(self.widths) != len(self.blocks) + 1:
      raise UserError(
        f"A ShuffleNetV2 has {len(self.widths)} widths and {len(self.blocks)}"
        " numbers of blocks.",
        "Expected one per stage, and a width of the last convolution.",
      )
    rows = inputs.get(f"has/{self.modality}")
    layers = _conv_norm.Layers(train, self.axis_name, self.dtype, rows=rows)
    outputs = {}
    x = layers.image(inputs[self.modality])
    x = _conv_norm.record(outputs, 0, layers.conv_norm(x, 24, 1, "_stem"))
    for stage, count in enumerate(self.blocks, 1):
      name = f"stage{stage}_block"
      halve = _Halve(self.widths[stage - 1], layers, name=f"{name}00")
      preact = halve(x)
      for index in range(1, count + 1):
        block = _Block(layers, name=f"{name}{index:02d}")
        preact = block(nn.relu(preact))
      x = _conv_norm.record(outputs, stage, preact)
    x = nn.relu(layers.conv_norm(x, self.widths[-1], 1, "_last"))
    drop = nn.Dropout(self.dropout, deterministic=not train)
    return _conv_norm.finish(outputs, x, self.num_classes, drop)


class _Block(nn.Module):
  """Figure 3 (c); the output is before ReLU."""

  layers: _conv_norm.Layers

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """[B H W C] to [B H W C]."""
    conv_norm = self.layers.conv_norm
    half = x.shape[-1] // 2
    kept, y = x[..., :half], x[..., half:]
    y = nn.relu(conv_norm(y, half, 1, 0))
    y = conv_norm(y, half, 3, 1, groups=half)
    y = conv_norm(y, half, 1, 2)
    return _conv_norm.shuffle(jnp.concatenate([kept, y], axis=-1), 2)


class _Halve(nn.Module):
  """Figure 3 (d), halving height and width; the output is before ReLU."""

  width: int
  layers: _conv_norm.Layers

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """[B H W C] to [B h w D]."""
    conv_norm = self.layers.conv_norm
    half, channels = self.width // 2, x.shape[-1]
    left = conv_norm(x, channels, 3, 0, stride=2, groups=channels)
    left = conv_norm(left, half, 1, 1)
    right = nn.relu(conv_norm(x, half, 1, 2))
    right = conv_norm(right, half, 3, 3, stride=2, groups=half)
    right = conv_norm(right, half, 1, 4)
    return _conv_norm.shuffle(jnp.concatenate([left, right], axis=-1), 2)
