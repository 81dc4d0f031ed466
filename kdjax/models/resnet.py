"""Residual networks of photographs, and the public names of their weights."""

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

# Public names: of a convolution and its batch norm, and of the classifier.
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
  """A ResNet of four stages: basic blocks below 50 layers, else bottlenecks.

  He et al., "Deep residual learning for image recognition", CVPR 2016,
  arXiv:1512.03385, Table 1 (depth 10 is not in it: a block a stage), with the
  stride of a bottleneck in its 3x3 convolution. Convolutions start normal with
  variance 2/fan_out. With stem "cifar" it is that of RepDistiller's
  `resnetv2`, with stem "imagenet" torchvision's, timm's and, by the options
  from `blocks` on, every one of transformers.

  Outputs: stage0 .. stage4 [B H W D] and preact0 .. preact4 (the same before
  ReLU), of the stem (before its pooling) and of the four stages, of which the
  last three halve height and width: RepDistiller's feat[0] .. feat[4]; tokens
  [B T D] (the positions of stage4), embedding [B D] (their mean), logits [B K].

  Attributes:
    num_classes: None leaves out the logits.
    depth: 10, 18, 34, 50, 101 or 152.
    width: channels of the stem and, before expansion, of the first stage; each
      further stage doubles them.
    stem: "imagenet" (a 7x7 convolution of stride 2 and a 3x3 max pooling of
      stride 2) or "cifar" (a 3x3 convolution).
    blocks: how many each stage has, of as many stages; () is by depth.
    widths: channels that come out of each stage; () is by width.
    bottleneck: whether blocks are bottlenecks; None is by depth.
    halve_first: whether the first stage too halves height and width.
    early: whether the stride of a bottleneck is in its first convolution.
    dropout: of the embedding's values before the logits.
    modality: which key of the inputs it reads.
    remat: whether the backward pass computes each block's inner values again,
      in place of keeping them.
    axis_name: of the devices that share batch statistics.
    dtype: of activations.
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

  USES = ("has",)

  @nn.compact
  def __call__(self, inputs: dict[str, Array], *, train: bool) -> Outputs:
    """Sees `inputs[modality]`, [B H W C], and `has/<modality>`, bool [B]."""
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
    made = _residual.kept(kind, self.remat)
    for stage, _, name, width, stride in _plan(self):
      if _deep(self):
        block = made(width // 4, stride, layers, self.early, name=name)
      else:
        block = made(width, stride, layers, name=name)
      preact = block(x)
      x = nn.relu(preact)
      outputs[f"preact{stage}"], outputs[f"stage{stage}"] = preact, x
    drop = nn.Dropout(self.dropout, deterministic=not train)
    return _conv_norm.finish(outputs, x, self.num_classes, drop)


def options(config: Mapping[str, Any]) -> dict[str, Any]:
  """Fields of `Model`, from a config.json of transformers or of timm.

  Raises:
    UserError: it says something that is not built here.
  """
  if "architecture" in config:
    known = {f"resnet{depth}": depth for depth in BLOCKS}
    _encoder.built(config, architecture=known)
    return {
      "num_classes": config["num_classes"] or None,
      "depth": known[config["architecture"]],
    }
  _encoder.built(
    config, hidden_act=("relu",), layer_type=("basic", "bottleneck")
  )
  return {
    "num_classes": _encoder.classes(config),
    "width": config["embedding_size"],
    "blocks": tuple(config["depths"]),
    "widths": tuple(config["hidden_sizes"]),
    "bottleneck": config["layer_type"] == "bottleneck",
    "halve_first": config["downsample_in_first_stage"],
    # Configs of its first year do not have it.
    "early": config.get("downsample_in_bottleneck", False),
  }


def names(model: Model) -> list[dict[str, str]]:
  """Leaf -> public tensor: as in transformers, and as in timm."""
  return [_table(model, one) for one in (TRANSFORMERS, TIMM)]


def _table(model: Model, public: Mapping[str, str]) -> dict[str, str]:
  """The names of one of the two."""
  found = _layer("", 0, public["stem"])
  before = model.width
  for stage, index, name, width, stride in _plan(model):
    at = {"stage": stage, "before": stage - 1, "block": index}
    for number in range(3 if _deep(model) else 2):
      at |= {"number": number, "next": number + 1}
      found |= _layer(f"{name}/", number, public["layer"].format(**at))
    if stride > 1 or before != width:
      found |= _layer(f"{name}/", "_shortcut", public["shortcut"].format(**at))
    before = width
  if model.num_classes is not None:
    found["params/head/kernel"] = f"{public['head']}.weight"
    found["params/head/bias"] = f"{public['head']}.bias"
  return found


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
  given = model.bottleneck
  return model.depth >= 50 if given is None else given


def _plan(model: Model) -> Iterator[tuple[int, int, str, int, int]]:
  """Of every block stage, number in it, name, channels and stride."""
  if not model.blocks and model.depth not in BLOCKS:
    raise UserError(f"No depth {model.depth}.", exists=map(str, BLOCKS))
  blocks = model.blocks or BLOCKS[model.depth]
  first = 4 * model.width if _deep(model) else model.width
  widths = model.widths or tuple(first * 2**i for i in range(len(blocks)))
  if len(blocks) != len(widths) or (
    _deep(model) and any(w % 4 for w in widths)
  ):
    raise ShapeError(
      f"{len(blocks)} stages of widths {list(widths)}.",
      "A stage has a width, which 4 divides where it is of bottlenecks.",
    )
  for stage, (count, width) in enumerate(zip(blocks, widths, strict=True), 1):
    for index in range(count):
      halves = index == 0 and (stage > 1 or model.halve_first)
      name = f"stage{stage}_block{index:02d}"
      yield stage, index, name, width, 2 if halves else 1
