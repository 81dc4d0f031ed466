"""Builds the networks and teachers of a stage from their configs."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from kdjax import pretrained, registry
from kdjax.cache import imported
from kdjax.config import fields
from kdjax.errors import UserError
from kdjax.preprocess import tokenizer
from kdjax.stage import parts
from kdjax.step.parts import teacher_of
from kdjax.step.quantization import NONE, QuantizedNetwork
from kdjax.step.terms import HEADS
from kdjax.types import Outputs

NETWORK_KEYS = fields.RESERVED["models"]


def build_networks(
  config: Mapping[str, Any], name: str, common: Mapping[str, Any]
) -> tuple[dict[str, nn.Module], dict[str, nn.Module]]:
  """Builds a stage's trained networks and its teachers, by name.

  Args:
    config: of the experiment, as nested dicts.
    name: of the stage.
    common: fields set on every module that has them: `axis_name`, `dtype`.

  Raises:
    UserError: a name is used twice or reserved, or a network does not exist.
  """
  spec = config["stages"][name]
  data = {**config["data"], **spec["data"]}
  teachers = {
    key: _with_separator(_teacher(config, name, key, common), data)
    for key in spec["teachers"]
  }
  networks = {
    key: _quantized(
      _with_separator(_network(network, common), data), spec, common
    )
    for key, network in spec["networks"].items()
  }
  for key in networks.keys() & teachers.keys():
    raise UserError(
      f"In the stage '{name}', '{key}' is both a network and a teacher.",
      "Rename one of them.",
    )
  if HEADS in {*networks, *teachers}:
    raise UserError(
      f"In the stage '{name}', the name '{HEADS}' is reserved.",
      "Rename the network or teacher.",
    )
  return networks, teachers


def cached_parts(
  config: Mapping[str, Any], name: str, networks: Mapping[str, nn.Module]
) -> dict[str, nn.Module]:
  """The parts of a stage's networks that run like teachers, by their names.

  Args:
    config: of the experiment, as nested dicts.
    name: of the stage.
    networks: of the stage.
  """
  return {
    teacher_of(key, part.path): part.field(networks[key])
    for key, spec in config["stages"][name]["networks"].items()
    for part in parts.all_of(spec)
    if part.spec.get("cache")
  }


def _teacher(config, name: str, key: str, common) -> nn.Module:
  """The network of a teacher, or the placeholder of an imported one."""
  teacher = config["stages"][name]["teachers"][key]
  if "outputs" in teacher:
    return imported.placeholder(teacher["outputs"])
  if teacher.get("dtype"):
    common = {**common, "dtype": jnp.dtype(teacher["dtype"])}
  spec = teacher.get("frozen") or _trained_config(config, name, key)
  network = _network(spec, common)
  if "stage" in teacher:  # it computes as it did in its stage
    network = _quantized(network, config["stages"][teacher["stage"]], common)
  chunks = teacher.get("chunks", 1)
  return network if chunks == 1 else ChunkedNetwork(network, chunks)


def _with_separator(network: Any, data: Mapping[str, Any]) -> Any:
  """A network that tells the texts of a pair apart, by the data's tokenizer.

  Args:
    network: with a field `separator`, which is None, and several `kinds`; any
      other one is returned as it is.
    data: options of the data set.
  """
  if isinstance(network, ChunkedNetwork):
    inner = _with_separator(network.network, data)
    return ChunkedNetwork(inner, network.count)
  if isinstance(network, QuantizedNetwork):
    inner = _with_separator(network.network, data)
    return dataclasses.replace(network, network=inner)
  named = data.get("tokenizer") or ""
  if getattr(network, "separator", 0) is not None or network.kinds < 2:
    return network
  # Of a data set with `pieces`, `text` has other ids than the tokenizer's.
  if "pieces" in data and network.modality != "pieces":
    return network
  found = tokenizer.separator(named)
  return network if found is None else network.clone(separator=found)


def _quantized(network: Any, stage: Mapping[str, Any], common) -> Any:
  """A network as its stage trains it: quantized, or as it is."""
  # A workdir from before the knob existed has none.
  if stage.get("quantize", NONE) == NONE:
    return network
  return QuantizedNetwork(network, common["axis_name"])


class ChunkedNetwork:
  """A frozen network that processes a batch in chunks, one after another.

  Its intermediate arrays are those of one chunk. The network must treat the
  rows of a batch independently, as in inference.

  Args:
    network: the module.
    count: number of chunks, of equally many rows.
  """

  def __init__(self, network: nn.Module, count: int):
    self.network, self.count = network, count

  def __getattr__(self, name: str) -> Any:
    return getattr(self.network, name)

  def apply(self, variables, inputs, *, train: bool) -> Outputs:
    """The outputs, equal to those of the network's own `apply`."""
    rows = len(jax.tree.leaves(inputs)[0])
    if rows == 1:  # one example, for its shapes
      return self.network.apply(variables, inputs, train=train)
    if rows % self.count:
      raise UserError(
        f"A teacher processes {rows} examples in {self.count} chunks.",
        "Expected a number of chunks that divides a device's batch size.",
      )
    run = lambda part: self.network.apply(variables, part, train=train)
    split = lambda leaf: leaf.reshape(self.count, -1, *leaf.shape[1:])
    join = lambda leaf: leaf.reshape(rows, *leaf.shape[2:])
    parts = jax.lax.map(run, jax.tree.map(split, inputs))
    return jax.tree.map(join, parts)


def _trained_config(config: Mapping[str, Any], name: str, key: str) -> Mapping:
  """The network config of a teacher, from the stage that trains it."""
  teacher = config["stages"][name]["teachers"][key]
  if "average_of" in teacher:
    networks = config["stages"][name]["networks"]
    if teacher["average_of"] not in networks:
      raise UserError(
        f"The teacher '{key}' of '{name}' averages the network "
        f"'{teacher['average_of']}', which the stage does not have.",
        exists=networks,
        near=teacher["average_of"],
      )
    return networks[teacher["average_of"]]
  order = list(config["order"])
  before = order[: order.index(name)]
  if teacher["stage"] not in before:
    raise UserError(
      f"The teacher '{key}' of '{name}' is from the stage "
      f"'{teacher['stage']}', which does not come before it.",
      exists=before,
      near=teacher["stage"],
    )
  networks = config["stages"][teacher["stage"]]["networks"]
  if teacher["network"] not in networks:
    raise UserError(
      f"The stage '{teacher['stage']}' has no network '{teacher['network']}'.",
      exists=networks,
      near=teacher["network"],
    )
  return networks[teacher["network"]]


def _network(spec: Mapping[str, Any], common: Mapping[str, Any]) -> nn.Module:
  """A network from its config; networks in its options are built first."""

  def value_of(value):
    if isinstance(value, Mapping):
      if isinstance(value.get("name"), str):
        return _network(value, common)
      return {key: value_of(part) for key, part in value.items()}
    return value

  options = {
    key: value_of(value)
    for key, value in spec.items()
    if key not in NETWORK_KEYS
  }
  if spec.get("pretrained"):
    options = pretrained.describe(spec["pretrained"], spec["name"], **options)
  return build_module("models", spec["name"], options, common)


def build_module(
  kind: str, name: str, options: Mapping[str, Any], common: Mapping[str, Any]
) -> nn.Module:
  """A Flax module with options, and with the `common` fields that it has."""
  cls = registry.find(kind, name)
  known = {field.name for field in dataclasses.fields(cls)}
  extra = {key: value for key, value in common.items() if key in known}
  return cls(**options, **extra)


def averaged_teachers(config: Mapping[str, Any], name: str) -> dict[str, str]:
  """A stage's teachers that average one of its networks: name -> network."""
  spec = config["stages"][name]
  averages = {
    key: teacher["average_of"]
    for key, teacher in spec["teachers"].items()
    if "average_of" in teacher
  }
  if averages and not spec["ema_decay"]:
    raise UserError(
      f"The teacher '{next(iter(averages))}' of '{name}' is a running average,"
      " and ema_decay of the stage is 0.",
      "Set the stage's ema_decay, for example to 0.99.",
    )
  return averages
