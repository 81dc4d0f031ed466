"""Addresses by place: what "student/stage1|last" stands for in a network.

A method's default address is an output and a place. It is that output where the
network has all outputs of this name that the stage reads, and otherwise the
layer at the place:

  first    the first layer
  middle   the layer in the middle
  last     the last layer
  feature  the embedding, which a classifier reads
  tower    the output itself, of a network with two towers
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from kdjax.config import layers
from kdjax.config.layers import Layer
from kdjax.errors import UserError

MARK = "|"
PLACES = ("first", "middle", "last", "feature", "tower")
# The form in which a term reads a group of outputs.
FORMS = {
  "stage": "map",
  "preact": "map",
  "block": "tokens",
  "embedded": "tokens",
  "scores": "attention",
  "query": "attention",
  "key": "attention",
  "value": "attention",
}

Known = Mapping[str, tuple[Layer, ...]]


@dataclasses.dataclass(frozen=True)
class Choice:
  """What a marked address stands for.

  Attributes:
    address: the plain one.
    form: in which its term reads it; "" is not an array of positions.
    layer: the output; None if the network does not say its outputs.
    missing: whether the network says its outputs and has no such one.
  """

  address: str
  form: str = ""
  layer: Layer | None = None
  missing: bool = False

  @property
  def network(self) -> str:
    """The name of the network, without a view."""
    return network_of(self.address)


def texts(read: Any) -> tuple[str, ...]:
  """The addresses that an argument reads."""
  return (read,) if isinstance(read, str) else tuple(read)


def network_of(address: str) -> str:
  """The name of an address's network, without a view."""
  return address.partition("/")[0].partition("@")[0]


def of_student(text: str) -> str:
  """The same output and place of the student."""
  return f"student/{text.partition('/')[2]}"


def _parsed(text: str) -> tuple[str, str, str]:
  """The output, the place, and what follows it: "/scale" of a norm."""
  address, _, place = text.partition(MARK)
  place, slash, rest = place.partition("/")
  return address.partition("/")[2], place, slash + rest


def chosen(text: str, marked: Iterable[str], known: Known) -> Choice:
  """What a marked address stands for.

  Args:
    text: the address with its mark.
    marked: all of the stage.
    known: network -> its layers.

  Raises:
    UserError: there is no such place.
  """
  output, place, rest = _parsed(text)
  if place not in PLACES:
    raise UserError(
      f"The address '{text}' has the place '{place}'.",
      exists=PLACES,
      near=place,
    )
  network, start = network_of(text), text.partition("/")[0]
  own = known.get(network, ())
  group = layers.DIGITS.sub("", output)
  form = FORMS.get(group, "")
  address = f"{start}/{output}{rest}"
  if not own:
    return Choice(address, form)
  if place == "tower":
    return Choice(address, missing=not _has_tower(own, output))
  other = known.get("teacher" if network == "student" else "student", ())
  own = _matching(own, other)
  sequence = _sequence(own, group)
  named = {_named(layer, group): layer for layer in sequence}
  if _asked(marked, network, group) <= named.keys():
    return Choice(address, form, named[output])
  if place == "feature":
    layer = Layer("embedding", "vector", own[0].modality)
    return Choice(f"{start}/embedding", form, layer)
  if not sequence:
    return Choice(address, form, missing=form == "attention" or not form)
  index = {"first": 0, "middle": (len(sequence) + 1) // 2 - 1}.get(place, -1)
  layer = sequence[index]
  return Choice(f"{start}/{_named(layer, group)}{rest}", form, layer)


def exact(address: str, known: Known) -> Choice:
  """What a plain address stands for; without a form if it is no layer.

  Args:
    address: without a mark.
    known: network -> its layers.
  """
  network, output = network_of(address), address.partition("/")[2]
  for layer in known.get(network, ()):
    if layer.output == output:
      group = layer.group.rpartition("/")[2]
      return Choice(address, FORMS.get(group, ""), layer)
  return Choice(address)


def _has_tower(own: tuple[Layer, ...], output: str) -> bool:
  """Whether a network has the tower of an output, or any for "scale"."""
  towers = {layers.part_of(layer) for layer in own} - {""}
  part = output.rpartition("/")[0]
  return part in towers if part else len(towers) > 1


def _asked(marked, network: str, group: str) -> set[str]:
  """All outputs of one group that the terms of a stage ask of a network."""
  outputs = (_parsed(text)[0] for text in marked if network_of(text) == network)
  return {
    output for output in outputs if layers.DIGITS.sub("", output) == group
  }


def _named(layer: Layer, group: str) -> str:
  """The output of a layer; scores stand for query, key and value."""
  if FORMS.get(group) != "attention":
    return layer.output
  return layer.output.replace("scores", group)


def _matching(
  own: tuple[Layer, ...], other: tuple[Layer, ...]
) -> tuple[Layer, ...]:
  """The layers of one encoder: of the other side's modality, or the first."""
  parts = dict.fromkeys(layers.part_of(layer) for layer in own)
  modalities = {layer.modality for layer in other}
  suits = [
    part
    for part in parts
    for layer in own
    if layers.part_of(layer) == part and layer.modality in modalities
  ]
  part = (suits or list(parts))[0]
  return tuple(layer for layer in own if layers.part_of(layer) == part)


def _sequence(own: tuple[Layer, ...], group: str) -> list[Layer]:
  """The layers that a group of outputs stands for, shallow to deep."""
  of = lambda *groups: [
    layer
    for layer in own
    if layer.group.rpartition("/")[2] in groups and layer.kind != "norm"
  ]
  if FORMS.get(group) == "attention":
    return of("scores")
  if group.startswith("params/"):
    return [layer for layer in own if layer.kind == "norm"]
  if group == "embedded" and of("embedded"):
    return of("embedded")
  found = of("preact") if group == "preact" else []
  found = found or of("stage") or of("block")
  if len(found) < 2 and group != "preact":
    found = of("embedded") + (found or of("tokens"))
  return found or of("tokens")
