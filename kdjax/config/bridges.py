"""Default addresses of methods, for any two networks, and the bridges between.

A method's default address is an output and a place: "student/stage1|last" is
`stage1` of a network that has such outputs, and otherwise the last of its
layers. Where the layers of student and teacher differ in form, or where their
positions are of different inputs, the term gets `bridges`, one head 'bridge'
for each argument; a loss that means nothing then is refused.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from kdjax.config import layers
from kdjax.config.layers import TOKENS, Layer
from kdjax.config.parts import head
from kdjax.config.refusals import (
  refuse_attention,
  refuse_norm,
  refuse_positions,
  refuse_towers,
)

MARK = "|"
# Besides: the arrays of two towers, and what a network's classifier reads.
TOWER, FEATURE = "tower", "feature"

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
# Losses of relations between examples: each side may have any form.
OF_EXAMPLES = ("sp", "irg_edge", "irg_transform")
# Losses that mean nothing with one position, by the option and its value with
# which they do: "" is always.
OF_POSITIONS = {
  "afd": "",
  "affinity": "",
  "at": "",
  "attention_cross_entropy": "",
  "attention_mse": "",
  "cwd": ("norm", "channel"),
  "ft": ("form", "map"),
  "kdsvd": "",
  "minilm": "",
  "mmd": "",
  "nst": "",
}
# Of the first token, which is [CLS] in Transformers alone.
OF_FIRST = ("pkd",)


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
    return _network_of(self.address)


def resolved(config: Mapping[str, Any]) -> dict[str, Any]:
  """A config with plain addresses, and with bridges where forms differ.

  Args:
    config: of an experiment, as nested dicts.

  Raises:
    UserError: a method means nothing between the networks of its stage.
  """
  stages = {name: _stage(config, name) for name in config["stages"]}
  return {**config, "stages": stages}


def _stage(config: Mapping[str, Any], name: str) -> dict[str, Any]:
  spec = config["stages"][name]
  marked = {
    text: None
    for term in spec["terms"].values()
    for read in term["reads"].values()
    for text in _texts(read)
    if MARK in text
  }
  if not marked:
    return spec
  known = {
    network: layers.of(found)
    for network in {_network_of(text) for text in marked} | {"student"}
    if (found := _config_of(config, name, network)) is not None
  }
  choices = {text: _chosen(text, marked, known) for text in marked}
  twins = {
    text: _chosen(_of_student(text), [_of_student(text)], known)
    for text in marked
  }
  terms = {
    key: _term(key, spec["terms"], choices, twins) for key in spec["terms"]
  }
  return {**spec, "terms": terms}


def _texts(read: Any) -> tuple[str, ...]:
  return (read,) if isinstance(read, str) else tuple(read)


def _network_of(address: str) -> str:
  return address.partition("/")[0].partition("@")[0]


def _of_student(text: str) -> str:
  return f"student/{text.partition('/')[2]}"


def _config_of(
  config: Mapping[str, Any], stage: str, name: str
) -> Mapping[str, Any] | None:
  """The config of a network or of a teacher; None if there is none."""
  spec = config["stages"][stage]
  if name in spec["networks"]:
    return spec["networks"][name]
  teacher = spec["teachers"].get(name, {})
  if "frozen" in teacher:
    return teacher["frozen"]
  if "average_of" in teacher:
    return spec["networks"].get(teacher["average_of"])
  source = config["stages"].get(teacher.get("stage"), {"networks": {}})
  return source["networks"].get(teacher.get("network"))


def _parsed(text: str) -> tuple[str, str, str]:
  """The output, the place, and what follows it: "/scale" of a norm."""
  address, _, place = text.partition(MARK)
  place, slash, rest = place.partition("/")
  return address.partition("/")[2], place, slash + rest


def _chosen(
  text: str, marked: Iterable[str], known: Mapping[str, tuple[Layer, ...]]
) -> Choice:
  """What a marked address stands for.

  Args:
    text: the address with its mark.
    marked: all of the stage.
    known: network -> its layers.
  """
  output, place, rest = _parsed(text)
  network, start = _network_of(text), text.partition("/")[0]
  own = known.get(network, ())
  group = layers.DIGITS.sub("", output)
  form = FORMS.get(group, "")
  address = f"{start}/{output}{rest}"
  if not own:
    return Choice(address, form)
  if place == TOWER:
    return Choice(address, missing=not _has_tower(own, output))
  other = known.get("teacher" if network == "student" else "student", ())
  own = _matching(own, other)
  sequence = _sequence(own, group)
  named = {_named(layer, group): layer for layer in sequence}
  if _asked(marked, network, group) <= named.keys():
    return Choice(address, form, named[output])
  if place == FEATURE:
    layer = Layer("embedding", "vector", own[0].modality)
    return Choice(f"{start}/embedding", form, layer)
  if not sequence:
    return Choice(address, form, missing=form == "attention" or not form)
  index = {"first": 0, "middle": (len(sequence) + 1) // 2 - 1}.get(place, -1)
  layer = sequence[index]
  return Choice(f"{start}/{_named(layer, group)}{rest}", form, layer)


def _has_tower(own: tuple[Layer, ...], output: str) -> bool:
  """Whether a network has the tower of an output, or any for "scale"."""
  towers = {layers.part_of(layer) for layer in own} - {""}
  part = output.rpartition("/")[0]
  return part in towers if part else len(towers) > 1


def _asked(marked, network: str, group: str) -> set[str]:
  """All outputs of one group that the terms of a stage ask of a network."""
  outputs = (
    _parsed(text)[0] for text in marked if _network_of(text) == network
  )
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


def _term(
  name: str, terms: Mapping[str, Any], choices: Mapping[str, Choice], twins
) -> dict[str, Any]:
  term = terms[name]
  asked = {
    argument: found
    for argument, read in term["reads"].items()
    if (found := [choices[text] for text in _texts(read) if text in choices])
  }
  if not asked:
    return term
  plain = lambda text: choices[text].address if text in choices else text
  reads = {
    argument: plain(read)
    if isinstance(read, str)
    else type(read)(plain(text) for text in read)
    for argument, read in term["reads"].items()
  }
  _check(name, term, asked)
  result = {**term, "reads": reads}
  if "bridges" in term:
    return result
  if term["loss"] in OF_EXAMPLES:
    bridges = _of_examples(term["loss"], asked)
    return {**result, "bridges": bridges} if bridges else result
  pairs = _pairs(name, terms, asked, choices, twins)
  asked = {key: found for key, found in asked.items() if found[0].form}
  bridges = _bridges(name, term, asked, pairs)
  return {**result, "bridges": bridges} if bridges else result


def _check(name: str, term, asked: Mapping[str, list[Choice]]) -> None:
  """Refuses a term that reads what a network does not have."""
  for found in asked.values():
    for choice in found:
      if not choice.missing:
        continue
      if choice.form == "attention":
        refuse_attention(name, term["loss"], choice.network)
      if "/params/" in choice.address:
        refuse_norm(name, choice.network)
      refuse_towers(name, choice.network)


def _pairs(
  name: str, terms, asked: Mapping[str, list[Choice]], choices, twins
) -> list[tuple[Choice, Choice]] | None:
  """Pairs of layers that are compared; None if a term reads one side alone."""
  sides = {
    side: asked.get(side) or _behind(terms, terms[name], side, choices)
    for side in ("student", "teacher")
  }
  if not sides["student"] or not sides["teacher"]:
    return None
  networks = {choice.network for both in sides.values() for choice in both}
  if len(networks) == 1 and networks != {"student"}:
    # A head of one network: its form is that of the terms that follow.
    read = _texts(terms[name]["reads"]["student"])
    sides["student"] = [twins[text] for text in read if text in twins]
  return list(zip(sides["student"], sides["teacher"], strict=False))


def _behind(terms, term, argument: str, choices) -> list[Choice]:
  """The choices that a head of another term, "heads/..", reads."""
  read = term["reads"].get(argument, "")
  if not isinstance(read, str) or not read.startswith("heads/"):
    return []
  _, owner, argument = read.split("/")
  read = terms.get(owner, {"reads": {}})["reads"].get(argument, ())
  return [choices[text] for text in _texts(read) if text in choices]


def _bridges(
  name: str, term, asked: Mapping[str, list[Choice]], pairs
) -> dict[str, dict]:
  """argument -> the config of its head 'bridge'."""
  if pairs is None:
    return {
      argument: _head("vector", "pool")
      for argument, found in asked.items()
      if all(one.layer and one.layer.kind in TOKENS for one in found)
    }
  if any(one.layer is None for pair in pairs for one in pair):
    return {}
  form = pairs[0][0].form
  ways = {
    way_between(ours.layer, theirs.layer, form, term["loss"])
    for ours, theirs in pairs
  }
  way = ways.pop() if len(ways) == 1 else "pool"
  if way == "pool" and _needs_positions(term):
    refuse_positions(name, term["loss"], *(one.layer for one in pairs[0]))
  if way is None or form == "attention":
    return {}
  first = {argument: found[0].layer for argument, found in asked.items()}
  sides = {
    "student": first.get("teacher", pairs[0][1].layer),
    "teacher": first.get("student", pairs[0][0].layer),
  }
  return {
    argument: one
    for argument, found in asked.items()
    if len({choice.network for choice in found}) == 1
    and (
      one := _bridge(
        argument,
        form,
        way,
        first[argument],
        sides.get(argument, found[0].layer),
      )
    )
  }


def _of_examples(loss: str, asked: Mapping[str, list[Choice]]):
  """Bridges to maps, each side by itself, unless the loss takes both."""
  found = [choice.layer for both in asked.values() for choice in both]
  kinds = {layer.kind for layer in found if layer}
  vectors = kinds == {"vector"} and loss != "irg_transform"
  if None in found or kinds <= {"map", "spectrum"} or vectors:
    return {}
  ways = {"patches": "grid", "vector": "pool"}
  return {
    argument: _head(
      "map",
      ways.get(both[0].layer.kind, "line"),
      keeps=True,
      skip=both[0].layer.skip,
    )
    for argument, both in asked.items()
    if both[0].layer.kind not in ("map", "spectrum")
  }


def _bridge(
  argument: str, form: str, way: str, own: Layer, other: Layer
) -> dict[str, Any] | None:
  """The bridge of an argument; None if it is in the form already."""
  if way != "grid":
    return _head(form, way)
  natural = ("map", "spectrum") if form == "map" else TOKENS
  if form == "map" and own.kind in natural:
    return None
  alike = (own.kind in natural) == (other.kind in natural)
  keeps = argument != "student" if alike else own.kind in natural
  return _head(form, way, keeps=keeps, skip=own.skip, other_skip=other.skip)


def _head(form: str, way: str, **options) -> dict[str, Any]:
  return head("bridge", to=form, by=way, **options).to_dict()


def _needs_positions(term: Mapping[str, Any]) -> bool:
  if term["loss"] not in OF_POSITIONS:
    return False
  when = OF_POSITIONS[term["loss"]]
  return not when or term.get(when[0]) == when[1]


def way_between(
  ours: Layer, theirs: Layer, form: str, loss: str = ""
) -> str | None:
  """How two layers are brought together; None is as they are.

  Args:
    ours: the student's layer.
    theirs: the teacher's.
    form: "map", "tokens" or "attention".
    loss: of the term.
  """
  kinds = {ours.kind, theirs.kind}
  if ours.modality != theirs.modality or "vector" in kinds:
    return "pool"
  if form == "attention":
    return None if len(kinds) == 1 else "pool"
  grids = kinds <= {"map", "patches"} or kinds == {"spectrum"}
  natural = {"map", "spectrum"} if form == "map" else {*TOKENS}
  if len(kinds) == 1 and kinds <= natural:
    blocks = ours.group == theirs.group == "block"
    return "pool" if loss in OF_FIRST and not blocks else None
  if loss in OF_FIRST:
    return "pool"
  if grids:
    return "grid"
  lines = kinds == {"words"} or kinds <= {"frames", "spectrum"}
  return "line" if lines else "pool"
