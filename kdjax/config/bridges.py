"""Default addresses of methods, for any two networks, and the bridges between.

`places.py` says which layer a default address is. Where the layers of student
and teacher differ in form, or where their positions are of different inputs,
the term gets `bridges`, one head 'bridge' for each argument; a loss that means
nothing then is refused.
"""

from collections.abc import Mapping
from typing import Any

from kdjax.config import layers, places, ways
from kdjax.config.layers import TOKENS, Layer
from kdjax.config.parts import head
from kdjax.config.places import MARK, Choice
from kdjax.config.refusals import (
  refuse_attention,
  refuse_norm,
  refuse_positions,
  refuse_towers,
)


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
  addresses = {
    text: None
    for term in spec["terms"].values()
    for read in term["reads"].values()
    for text in places.texts(read)
  }
  marked = [text for text in addresses if MARK in text]
  if not marked:
    return spec
  known = {
    network: layers.of(found)
    for network in {places.network_of(text) for text in addresses} | {"student"}
    if (found := _config_of(config, name, network)) is not None
  }
  choices = {
    text: places.chosen(text, marked, known)
    if MARK in text
    else places.exact(text, known)
    for text in addresses
  }
  # Of each marked address, the same output and place of the student.
  student_choices = {
    text: places.chosen(same, [same], known)
    for text in marked
    for same in (places.of_student(text),)
  }
  terms = {
    key: _term(key, spec["terms"], choices, student_choices)
    for key in spec["terms"]
  }
  return {**spec, "terms": terms}


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


def _term(
  name: str,
  terms: Mapping[str, Any],
  choices: Mapping[str, Choice],
  student_choices,
) -> dict[str, Any]:
  term = terms[name]
  marked = {
    argument: found
    for argument, read in term["reads"].items()
    if (found := _choices_of(read, choices, marked=True))
  }
  if not marked:
    return term
  plain = lambda text: choices[text].address
  reads = {
    argument: plain(read)
    if isinstance(read, str)
    else type(read)(plain(text) for text in read)
    for argument, read in term["reads"].items()
  }
  _check(name, term, marked)
  result = {**term, "reads": reads}
  if "bridges" in term:
    return result
  if term["loss"] in ways.OF_EXAMPLES:
    bridges = _of_examples(term["loss"], marked)
    return {**result, "bridges": bridges} if bridges else result
  # The other side of a default address may be set.
  marked = {
    argument: found
    for argument, read in term["reads"].items()
    if (found := marked.get(argument) or _choices_of(read, choices))
  }
  pairs = _pairs(name, terms, marked, choices, student_choices)
  marked = {key: found for key, found in marked.items() if found[0].form}
  forms = [one.form for found in marked.values() for one in found if one.form]
  bridges = _bridges(name, term, marked, pairs, forms[0]) if forms else {}
  return {**result, "bridges": bridges} if bridges else result


def _choices_of(
  read: Any, choices: Mapping[str, Choice], *, marked: bool = False
) -> list[Choice]:
  """The layers that an argument reads, or of those the marked ones."""
  return [
    choices[text]
    for text in places.texts(read)
    if (MARK in text if marked else choices[text].layer)
  ]


def _check(name: str, term, marked: Mapping[str, list[Choice]]) -> None:
  """Refuses a term that reads what a network does not have."""
  for found in marked.values():
    for choice in found:
      if not choice.missing:
        continue
      if choice.form == "attention":
        refuse_attention(name, term["loss"], choice.network)
      if "/params/" in choice.address:
        refuse_norm(name, choice.network)
      refuse_towers(name, choice.network)


def _pairs(
  name: str, terms, marked: Mapping[str, list[Choice]], choices, student_choices
) -> list[tuple[Choice, Choice]] | None:
  """Pairs of layers that are compared; None if a term reads one side alone."""
  sides = {
    side: marked.get(side) or _head_inputs(terms, terms[name], side, choices)
    for side in ("student", "teacher")
  }
  if not sides["student"] or not sides["teacher"]:
    return None
  networks = {choice.network for both in sides.values() for choice in both}
  if len(networks) == 1 and networks != {"student"}:
    # A head of one network: its form is that of the terms that follow.
    read = places.texts(terms[name]["reads"]["student"])
    sides["student"] = [
      student_choices[text] for text in read if text in student_choices
    ]
  return list(zip(sides["student"], sides["teacher"], strict=False))


def _head_inputs(terms, term, argument: str, choices) -> list[Choice]:
  """The choices that a head of another term, "heads/..", reads."""
  read = term["reads"].get(argument, "")
  if not isinstance(read, str) or not read.startswith("heads/"):
    return []
  _, owner, argument = read.split("/")
  read = terms.get(owner, {"reads": {}})["reads"].get(argument, ())
  return _choices_of(read, choices)


def _bridges(
  name: str, term, marked: Mapping[str, list[Choice]], pairs, form: str
) -> dict[str, dict]:
  """argument -> the config of its head 'bridge'."""
  if pairs is None:
    alone = all(
      argument in marked or text.endswith("/logits") or text[:5] == "batch"
      for argument in ("student", "teacher")
      for text in places.texts(term["reads"].get(argument, ()))
    )
    return (
      {}
      if not alone
      else {
        argument: _head("vector", "pool")
        for argument, found in marked.items()
        if all(one.layer and one.layer.kind in TOKENS for one in found)
      }
    )
  if any(one.layer is None for pair in pairs for one in pair):
    return {}
  found = {
    ways.between(ours.layer, theirs.layer, form, term["loss"])
    for ours, theirs in pairs
  }
  way = found.pop() if len(found) == 1 else "pool"
  if way == "pool" and ways.needs_positions(term):
    refuse_positions(name, term["loss"], *(one.layer for one in pairs[0]))
  if way is None or form == "attention":
    return {}
  first = {argument: found[0].layer for argument, found in marked.items()}
  sides = {
    "student": first.get("teacher", pairs[0][1].layer),
    "teacher": first.get("student", pairs[0][0].layer),
  }
  return {
    argument: one
    for argument, found in marked.items()
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


def _of_examples(loss: str, marked: Mapping[str, list[Choice]]):
  """Bridges to maps, each side by itself, unless the loss takes both."""
  found = [choice.layer for both in marked.values() for choice in both]
  kinds = {layer.kind for layer in found if layer}
  vectors = kinds == {"vector"} and loss != "irg_transform"
  if None in found or kinds <= {"map", "spectrum"} or vectors:
    return {}
  by = {"patches": "grid", "vector": "pool"}
  return {
    argument: _head(
      "map",
      by.get(both[0].layer.kind, "line"),
      keeps=True,
      skip=both[0].layer.skip,
    )
    for argument, both in marked.items()
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
