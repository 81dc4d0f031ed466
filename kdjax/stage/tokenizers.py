"""Checks that networks read the ids of their own tokenizer."""

import os
from collections.abc import Iterator, Mapping
from typing import Any

from kdjax import registry
from kdjax.config import fields
from kdjax.config.fields import without
from kdjax.errors import UserError
from kdjax.preprocess import tokenizer
from kdjax.pretrained import files
from kdjax.stage import parts

# A checkpoint without one of these has no tokenizer.
_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model")


def check(config: Mapping[str, Any], name: str) -> None:
  """Checks the texts of all networks of a stage.

  Args:
    config: of the experiment, as nested dicts.
    name: of the stage.

  Raises:
    UserError: a published network, or one that an earlier stage trained, reads
      a text as ids of another tokenizer than it was trained with.
  """
  named = _of_stage(config, name)
  if not named:
    return
  for network, spec, module_key in _networks(config, name):
    trained_on = spec.get("stage")
    if trained_on is not None:
      _compare_stages(config, name, network, trained_on, named)
      continue
    for part in parts.all_of(spec):
      earlier = (part.spec.get("init_from") or "").partition("/")[0]
      if earlier in config["stages"]:
        _compare_stages(config, name, network, earlier, named)
      elif part.spec.get("pretrained"):
        _compare_published(part, network, named, module_key)


def _of_stage(config: Mapping[str, Any], name: str) -> dict[str, str]:
  """The tokenizer of each text of a stage's data, where it is known."""
  data = {**config["data"], **config["stages"][name]["data"]}
  dataset = registry.find("data", data["name"])
  tokenizers = getattr(dataset, "tokenizers", None)
  options = without(data, fields.RESERVED["data"])
  return tokenizers(**options) if tokenizers else {}


def _networks(
  config: Mapping[str, Any], name: str
) -> Iterator[tuple[str, Mapping[str, Any], str]]:
  """Name and config of every network and teacher of a stage."""
  stage = config["stages"][name]
  for network, spec in stage["networks"].items():
    yield network, spec, "network"
  for teacher, spec in stage["teachers"].items():
    if "frozen" in spec:
      yield teacher, spec["frozen"], "teacher"
    elif "stage" in spec:
      yield teacher, {"stage": spec["stage"]}, "teacher"


def _compare_stages(config, name, network, earlier, named) -> None:
  """Raises `UserError` for a text with another tokenizer in another stage."""
  before = _of_stage(config, earlier)
  read = _texts_of(config, earlier)
  for key in read & named.keys() & before.keys():
    if before[key] != named[key] and _state(before[key]) != _state(named[key]):
      raise UserError(
        f"'{network}' was trained in the stage '{earlier}' on '{key}' of the"
        f" tokenizer '{before[key]}', and '{name}' has that of '{named[key]}'.",
        "Give both stages the same tokenizer, or the text a key of its own.",
      )


def _texts_of(config: Mapping[str, Any], name: str) -> set[str]:
  """The keys that a stage's networks read."""
  return {
    key
    for spec in config["stages"][name]["networks"].values()
    for part in parts.all_of(spec)
    for key in (_modality(part.spec),)
  }


def _modality(spec: Mapping[str, Any]) -> str:
  """The key that a network reads: its option, or its class's default."""
  found = spec.get("modality")
  if found is None:
    options = registry.describe("models", spec["name"]).options
    found = options.get("modality")
  return found if isinstance(found, str) else ""


def _compare_published(part, network, named, kind) -> None:
  """Raises `UserError` for a checkpoint that has another tokenizer."""
  key, path = _modality(part.spec), part.spec["pretrained"]
  if key not in named:
    return
  folder = files.folder(path)
  if not any(os.path.isfile(os.path.join(folder, it)) for it in _FILES):
    return
  if _state(path) != _state(named[key]):
    where = f"'{part.path}' of the {kind} '{network}'" if part.path else (
      f"The {kind} '{network}'"
    )  # fmt: skip
    raise UserError(
      f"{where} is '{path}', and the data's '{key}' has ids of the tokenizer"
      f" '{named[key]}'.",
      f"Set tokenizer='{path}' of the data or of the column, or modality= of"
      " the network to a text that has it.",
    )


def _state(name: str) -> str:
  """What the ids of a tokenizer depend on; words and characters by name."""
  if name in tokenizer.BUILT:
    return name
  return tokenizer.state(tokenizer.make(name, ()))
