"""The networks of a stage and its teachers, from their configs."""

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
from kdjax.step.terms import HEADS
from kdjax.types import Outputs

NETWORK_KEYS = fields.RESERVED["models"]


def of_stage(
  config: Mapping[str, Any], name: str, common: Mapping[str, Any]
) -> tuple[dict[str, nn.Module], dict[str, nn.Module]]:
  """The trained networks of a stage and its teachers, by name.

  Args:
    config: of the experiment, as nested dicts.
    name: of the stage.
    common: what every module has that knows it: `axis_name`, `dtype`.
  """
  spec = config["stages"][name]
  teachers = {
    key: _teacher(config, name, key, common) for key in spec["teachers"]
  }
  networks = {
    key: _network(network, common) for key, network in spec["networks"].items()
  }
  for key in networks.keys() & teachers.keys():
    raise UserError(f"In '{name}', '{key}' is both trained and a teacher.")
  if HEADS in {*networks, *teachers}:
    raise UserError(f"In '{name}', the name '{HEADS}' is taken.")
  return networks, teachers


def _teacher(config, name: str, key: str, common) -> nn.Module:
  """The network of a teacher, or what stands for it."""
  teacher = config["stages"][name]["teachers"][key]
  if "outputs" in teacher:
    return imported.model(teacher["outputs"])
  if teacher.get("dtype"):
    common = {**common, "dtype": jnp.dtype(teacher["dtype"])}
  spec = teacher.get("frozen") or _taught(config, name, key)
  network = _network(spec, common)
  chunks = teacher.get("chunks", 1)
  return network if chunks == 1 else InChunks(network, chunks)


class InChunks:
  """A frozen network that takes a batch in parts, one after another.

  What it keeps between layers is that of one part. Rows that see each other, as
  none do in inference, would see those of their part alone.

  Args:
    network: the module.
    count: of parts, which have as many rows each.
  """

  def __init__(self, network: nn.Module, count: int):
    self.network, self.count = network, count

  def __getattr__(self, name: str) -> Any:
    return getattr(self.network, name)

  def apply(self, variables, inputs, *, train: bool) -> Outputs:
    """The outputs, as of the network's own `apply`."""
    rows = len(jax.tree.leaves(inputs)[0])
    if rows == 1:  # an example, for its shapes
      return self.network.apply(variables, inputs, train=train)
    if rows % self.count:
      raise UserError(
        f"A teacher takes {rows} examples in {self.count} chunks.",
        "Expected chunks that divide a device's part of the batch.",
      )
    run = lambda part: self.network.apply(variables, part, train=train)
    cut = lambda leaf: leaf.reshape(self.count, -1, *leaf.shape[1:])
    joined = lambda leaf: leaf.reshape(rows, *leaf.shape[2:])
    parts = jax.lax.map(run, jax.tree.map(cut, inputs))
    return jax.tree.map(joined, parts)


def _taught(config: Mapping[str, Any], name: str, key: str) -> Mapping:
  """The config of the network that a teacher was, in its own stage."""
  teacher = config["stages"][name]["teachers"][key]
  if "average_of" in teacher:
    networks = config["stages"][name]["networks"]
    if teacher["average_of"] not in networks:
      raise UserError(
        f"The stage '{name}' has no network '{teacher['average_of']}', of "
        f"which '{key}' is the average.",
        exists=networks,
      )
    return networks[teacher["average_of"]]
  order = list(config["order"])
  before = order[: order.index(name)]
  if teacher["stage"] not in before:
    raise UserError(
      f"The teacher '{key}' of '{name}' is of the stage "
      f"'{teacher['stage']}', which does not come before it.",
      exists=before,
      near=teacher["stage"],
    )
  networks = config["stages"][teacher["stage"]]["networks"]
  if teacher["network"] not in networks:
    raise UserError(
      f"The stage '{teacher['stage']}' has no network '{teacher['network']}'.",
      exists=networks,
    )
  return networks[teacher["network"]]


def _network(spec: Mapping[str, Any], common: Mapping[str, Any]) -> nn.Module:
  """A network from its config; one made of networks has them built first."""

  def value_of(value):
    if isinstance(value, Mapping):
      if "name" in value:
        if value.get("pretrained"):
          raise UserError(
            f"'{value['name']}' inside of '{spec['name']}' is pretrained.",
            "A whole network starts from a checkpoint; no part of one does.",
          )
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
  return module("models", spec["name"], options, common)


def module(
  kind: str, name: str, options: Mapping[str, Any], common: Mapping[str, Any]
) -> nn.Module:
  """A Flax module with its options, and the fields of `common` that it has."""
  cls = registry.find(kind, name)
  fields_of = {field.name for field in dataclasses.fields(cls)}
  extra = {key: value for key, value in common.items() if key in fields_of}
  return cls(**options, **extra)


def averages(config: Mapping[str, Any], name: str) -> dict[str, str]:
  """The teachers of a stage that average one of its networks, and which."""
  spec = config["stages"][name]
  found = {
    key: teacher["average_of"]
    for key, teacher in spec["teachers"].items()
    if "average_of" in teacher
  }
  if found and not spec["ema_decay"]:
    raise UserError(
      f"In '{name}', {', '.join(found)} is a running average.",
      "Set the stage's ema_decay, such as 0.99.",
    )
  return found
