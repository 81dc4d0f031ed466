"""ResNet-10 to -152; loads published weights."""

from collections.abc import Iterator, Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from kdjax.errors import ShapeError, UserError
from kdjax.models import _conv_norm, _encoder, _init, _residual
from kdjax.models._modality import OneModality
from kdjax.types import Array, Outputs

BLOCKS = {
  10: (1, 1, 1, 1),
  18: (2, 2, 2, 2),
  34: (3, 4, 6, 3),
  50: (3, 4, 6, 3),
  101: (3, 4, 23, 3),
  152: (3, 8, 36, 3),
}

TYPES = ("resnet",)
PREFIXES = ("", "resnet.")
UNREAD = (r".*\.num_batches_tracked", r"classifier\.1\..*", r"fc\..*")
FRESH = ("head",)

# Public names of convolutions with their batch norms, and of the classifier.
_LAYER = "encoder.stages.{before}.layers.{block}."
TRANSFORMERS = {
  "stem": "embedder.embedder.convolution embedder.embedder.normalization",
  "layer": (
    f"{_LAYER}layer.{{number}}.convolution"
    f" {_LAYER}layer.{{number}}.normalization"
  ),
  "shortcut": (f"{_LAYER}shortcut.convolution {_LAYER}shortcut.normalization"),
  "head": "classifier.1",
}
TIMM = {
  "stem": "conv1 bn1",
  "layer": ("layer{stage}.{block}.conv{next} layer{stage}.{block}.bn{next}"),
  "shortcut": (
    "layer{stage}.{block}.downsample.0 layer{stage}.{block}.downsample.1"
  ),
  "head": "fc",
}


class Model(OneModality, nn.Module):
  """A ResNet with four stages: basic blocks below 50 layers, else bottlenecks.

  He et al., "Deep residual learning for image recognition", CVPR 2016,
  arXiv:1512.03385, Table 1, with a bottleneck's stride in its 3x3 convolution.
  Depth 10, one block per stage, is not in the paper. Convolutions are
  initialized with a normal of variance 2/fan_out. With stem "cifar" it equals
  RepDistiller's `resnetv2`; with stem "imagenet", those of torchvision and timm
  and, by the options from `blocks` on, all of transformers.

  Outputs: stage0 .. stage4 [B H W D] and preact0 .. preact4 (the same before
  ReLU): of the stem before its pooling and of the four stages; the last three
  halve height and width (RepDistiller's feat[0] .. feat[4]). tokens [B T D]
  (the positions of stage4), embedding [B D] (their mean), logits [B K].

  Attributes:
    num_classes: K; None omits the logits.
    depth: 10, 18, 34, 50, 101 or 152.
    width: channels of the stem and, before expansion, of the first stage. Each
      further stage doubles them.
    stem: "imagenet" (a 7x7 convolution of stride 2 and a 3x3 max pooling of
      stride 2) or "cifar" (a 3x3 convolution).
    blocks: number of blocks of each stage; () follows from depth.
    widths: output channels of each stage; () follows from width.
    bottleneck: whether blocks are bottlenecks; None follows from depth.
    halve_first: whether the first stage halves height and width, too.
    early: puts a bottleneck's stride into its first convolution.
    dropout: rate; of the embedding, before the logits.
    modality: the input's key.
    remat: recomputes each block's activations in the backward pass instead of
      storing them.
    axis_name: name of the device axis that shares batch statistics.
    dtype: of the activations.
  """

  num_classes: int | None = None
  depth: int = 18
  width: int = 64
  stem: str = "imagenet"
  blocks: tuple = ()
  widths: tuple = ()
  bottleneck: bool | None = None
  halve_first: bool = False
  early: bool = False
  dropout: float = 0.0
  modality: str = "image"
  remat: bool = False
  axis_name: str | None = None
  dtype: Any = jnp.float32

  LAYERS = (
    ("stage{}", "map", (1, ("blocks", 4))),
    ("preact{}", "map", (1, ("blocks", 4))),
  )

  USES = ("has",)

  @nn.compact
  def __call__(self, inputs: dict[str, Array], *, train: bool) -> Outputs:
    """Reads `inputs[modality]`, [B H W C], and `has/<modality>`, bool [B]."""
    stems = ("cifar", "imagenet")
    if self.stem not in stems:
      raise UserError(f"No stem '{self.stem}'.", exists=stems, near=self.stem)
    rows = inputs.get(f"has/{self.modality}")
    layers = _conv_norm.Layers(
      train, self.axis_name, self.dtype, _init.HE_NORMAL, rows
    )
    outputs = {}
    x = layers.image(inputs[self.modality])
    if self.stem == "imagenet":
      x = layers.conv_norm(x, self.width, 7, 0, stride=2)
      x = _conv_norm.record(outputs, 0, x)
      x = nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
    else:
      x = layers.conv_norm(x, self.width, 3, 0)
      x = _conv_norm.record(outputs, 0, x)
    kind = _residual.Bottleneck if _deep(self) else _residual.Basic
    block_class = _residual.maybe_remat(kind, self.remat)
    for stage, _, name, width, stride in _plan(self):
      if _deep(self):
        block = block_class(width // 4, stride, layers, self.early, name=name)
      else:
        block = block_class(width, stride, layers, name=name)
      preact = block(x)
      x = nn.relu(preact)
      outputs[f"preact{stage}"], outputs[f"stage{stage}"] = preact, x
    drop = nn.Dropout(self.dropout, deterministic=not train)
    return _conv_norm.finish(outputs, x, self.num_classes, drop)


def options(config: Mapping[str, Any]) -> dict[str, Any]:
  """Fields of `Model` from a config.json of transformers or timm.

  Raises:
    UserError: the config has an unsupported value.
  """
  if "architecture" in config:
    known = {f"resnet{depth}": depth for depth in BLOCKS}
    _encoder.require(config, architecture=known)
    return {
      "num_classes": config["num_classes"] or None,
      "depth": known[config["architecture"]],
    }
  _encoder.require(
    config, hidden_act=("relu",), layer_type=("basic", "bottleneck")
  )
  return {
    "num_classes": _encoder.classes(config),
    "width": config["embedding_size"],
    "blocks": tuple(config["depths"]),
    "widths": tuple(config["hidden_sizes"]),
    "bottleneck": config["layer_type"] == "bottleneck",
    "halve_first": config["downsample_in_first_stage"],
    # Older configs omit this key.
    "early": config.get("downsample_in_bottleneck", False),
  }


def names(model: Model) -> list[dict[str, str]]:
  """Maps leaves to public tensors: a table for transformers, one for timm."""
  return [_table(model, public) for public in (TRANSFORMERS, TIMM)]


def _table(model: Model, public: Mapping[str, str]) -> dict[str, str]:
  """The table of one library."""
  table = _layer("", 0, public["stem"])
  before = model.width
  for stage, index, name, width, stride in _plan(model):
    keys = {"stage": stage, "before": stage - 1, "block": index}
    for number in range(3 if _deep(model) else 2):
      keys |= {"number": number, "next": number + 1}
      table |= _layer(f"{name}/", number, public["layer"].format(**keys))
    if stride > 1 or before != width:
      shortcut = public["shortcut"].format(**keys)
      table |= _layer(f"{name}/", "_shortcut", shortcut)
    before = width
  if model.num_classes is not None:
    table["params/head/kernel"] = f"{public['head']}.weight"
    table["params/head/bias"] = f"{public['head']}.bias"
  return table


def _layer(prefix: str, name: str | int, public: str) -> dict[str, str]:
  """The names of a convolution and its batch norm."""
  conv, norm = public.split()
  return {
    f"params/{prefix}conv{name}/kernel": f"{conv}.weight",
    f"params/{prefix}norm{name}/scale": f"{norm}.weight",
    f"params/{prefix}norm{name}/bias": f"{norm}.bias",
    f"batch_stats/{prefix}norm{name}/mean": f"{norm}.running_mean",
    f"batch_stats/{prefix}norm{name}/var": f"{norm}.running_var",
  }


def _deep(model: Model) -> bool:
  """Whether blocks are bottlenecks."""
  if model.bottleneck is None:
    return model.depth >= 50
  return model.bottleneck


def _plan(model: Model) -> Iterator[tuple[int, int, str, int, int]]:
  """Each block's stage, index in the stage, name, channels and stride."""
  if not model.blocks and model.depth not in BLOCKS:
    raise UserError(f"No depth {model.depth}.", exists=map(str, BLOCKS))
  blocks = model.blocks or BLOCKS[model.depth]
  first = 4 * model.width if _deep(model) else model.width
  widths = model.widths or tuple(first * 2**i for i in range(len(blocks)))
  if len(blocks) != len(widths) or (
    _deep(model) and any(w % 4 for w in widths)
  ):
    raise ShapeError(
      f"A ResNet has {len(blocks)} stages and widths={list(widths)}.",
      "Expected one width per stage, divisible by 4 for bottlenecks.",
    )
  for stage, (count, width) in enumerate(zip(blocks, widths, strict=True), 1):
    for index in range(count):
      halves = index == 0 and (stage > 1 or model.halve_first)
      name = f"stage{stage}_block{index:02d}"
      yield stage, index, name, width, 2 if halves else 1
