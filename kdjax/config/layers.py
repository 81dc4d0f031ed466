"""What outputs a network has, in order, read from its source.

A network says them in `LAYERS`: (output, kind, number), shallow to deep; "{}"
in the output counts from 0. A number is itself, or an option: its value or its
length; (1, "blocks") is a sum, and ("blocks", 4) in it is 4 if the option is
empty. The kinds:

  map        [B H W C], over an image
  spectrum   [B T F C], over a spectrogram
  patches    [B T D], of an image, row by row; `NO_PATCHES` counts the first
             and the last tokens that are none
  words      [B T D], of a text
  steps      [B T D], over time, one for each step of a series
  frames     [B T D], over time, of another number
  tokens     [B T D], in another order
  vector     [B D]
  attention  [B heads T T], before the softmax
  norm       a batch norm before a map
"""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from kdjax import registry

TOKENS = ("patches", "words", "steps", "frames", "tokens")
KINDS = ("map", "spectrum", *TOKENS, "vector", "attention", "norm")
# Options of a network that are the networks that it is made of.
PARTS = "encoders"
DIGITS = re.compile(r"\d+$")


@dataclasses.dataclass(frozen=True)
class Layer:
  """An output of a network.

  Attributes:
    output: its name.
    kind: one of `KINDS`.
    modality: the key of the input of its positions.
    skip: of patches, numbers of first and of last tokens that are none.
  """

  output: str
  kind: str
  modality: str
  skip: tuple[int, int] = (0, 0)

  @property
  def group(self) -> str:
    """The output without its number: "stage" of "stage1"."""
    return DIGITS.sub("", self.output)


def of(network: Mapping[str, Any]) -> tuple[Layer, ...]:
  """The outputs of a network, each group from shallow to deep.

  Those whose number is not in the config are left out, as the blocks of a
  checkpoint; () if the network does not say its outputs.

  Args:
    network: from `config.network`.
  """
  found = registry.describe("models", network["name"])
  options = {
    **({} if network.get("pretrained") else found.options),
    **{key: value for key, value in network.items() if key != "name"},
  }
  layers = []
  for output, kind, number in found.constants.get("LAYERS", ()):
    part = output.rpartition("/")[0]
    modality = options.get("modality", found.options.get("modality"))
    if part and part != "params":
      modality = part
    skip = tuple(
      sum(_number(options, what, found) for what in side)
      for side in found.constants.get("NO_PATCHES", ((), ()))
    )
    for index in range(_count(options, number)):
      place = output.format(index)
      place_skip = skip if kind == "patches" else (0, 0)
      layers.append(Layer(place, kind, modality, place_skip))
  for name in sorted(_parts(network)):
    inner = of(network[PARTS][name])
    layers += [
      dataclasses.replace(layer, output=_within(name, layer.output))
      for layer in inner
      if layer.kind != "norm"
    ]
  return tuple(layers)


def part_of(layer: Layer) -> str:
  """The encoder that a layer is of; "" is the whole network."""
  part = layer.output.rpartition("/")[0]
  return "" if part == "params" else part


def _within(name: str, output: str) -> str:
  return f"{name}/{output}"


def _parts(network: Mapping[str, Any]) -> list[str]:
  parts = network.get(PARTS)
  return list(parts) if isinstance(parts, Mapping) else []


def _count(options: Mapping[str, Any], number: Any) -> int:
  """How many outputs there are; 0 if the config does not say."""
  parts = number if isinstance(number, tuple) else (number,)
  counts = []
  for part in parts:
    option, empty = part if isinstance(part, tuple) else (part, 0)
    value = options.get(option) if isinstance(option, str) else option
    count = len(value) if isinstance(value, list | tuple) else value
    if not isinstance(count, int):
      return 0
    counts.append(count or empty)
  return sum(counts)


def _number(options: Mapping[str, Any], what: Any, found) -> int:
  """A number of tokens: itself, an option, or 1 if an option has a value."""
  value = lambda key: options.get(key, found.options.get(key))
  if isinstance(what, tuple):
    return int(value(what[0]) == what[1])
  return int(value(what) if isinstance(what, str) else what)
