"""A stage's config as the objects that train it. No config goes further."""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from kdjax import optimizer, rooms, schedules
from kdjax.errors import UserError
from kdjax.flow import Address
from kdjax.objective import Objective, Term
from kdjax.stage import DATA_KEYS, Stage, numbers_of, without
from kdjax.step import make_eval_step, make_train_step

# Keys of a config that are not options of the thing itself.
TERM_KEYS = ("loss", "weight", "reads", "heads", "targets")
NETWORK_KEYS = ("name", "init_from")


def build(
  config: Mapping[str, Any], name: str, axis_name: str | None = None
) -> Stage:
  """A stage of an experiment.

  Args:
    config: of the experiment, as nested dicts.
    name: of the stage.
    axis_name: what its step calls the axis of devices.
  """
  if name not in config["stages"]:
    exists = config["order"]
    raise UserError(f"No stage '{name}'.", exists=exists, near=name)
  spec = dict(config["stages"][name])
  spec["data"] = {**config["data"], **spec["data"]}
  common = {"axis_name": axis_name, "dtype": jnp.dtype(config["dtype"])}
  teachers = {
    key: _network(_taught(config, name, key), common)
    for key in spec["teachers"]
  }
  networks = {
    key: _network(network, common) for key, network in spec["networks"].items()
  }
  for key in networks.keys() & teachers.keys():
    raise UserError(f"In '{name}', '{key}' is both trained and a teacher.")
  objective = Objective(
    networks=networks,
    teachers=teachers,
    terms=tuple(
      _term(key, term, common, spec["steps"])
      for key, term in spec["terms"].items()
    ),
    axis_name=axis_name,
  )
  rule = optimizer.make(spec["optimizer"], spec["steps"])
  families = {
    key: rooms.find("metrics", metric["name"])
    for key, metric in spec["metrics"].items()
  }
  data = spec["data"]
  return Stage(
    name=name,
    config=spec,
    objective=objective,
    optimizer=rule,
    families=families,
    spec=rooms.find("data", data["name"]).spec(**without(data, DATA_KEYS)),
    train_step=make_train_step(objective, rule, ema_decay=spec["ema_decay"]),
    eval_step=make_eval_step(
      objective,
      {
        key: (_measure(families[key], metric), _reads(metric["reads"]))
        for key, metric in spec["metrics"].items()
      },
    ),
  )


def _taught(config: Mapping[str, Any], name: str, key: str) -> Mapping:
  """The config of the network that a teacher was, in its own stage."""
  teacher = config["stages"][name]["teachers"][key]
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
        return _network(value, common)
      return {key: value_of(part) for key, part in value.items()}
    return value

  return _module(
    "models",
    spec["name"],
    {
      key: value_of(value)
      for key, value in spec.items()
      if key not in NETWORK_KEYS
    },
    common,
  )


def _module(room, name, options, common) -> nn.Module:
  kind = rooms.find(room, name)
  fields = {field.name for field in dataclasses.fields(kind)}
  extra = {key: value for key, value in common.items() if key in fields}
  return kind(**options, **extra)


def _term(
  name: str, spec: Mapping[str, Any], common: Mapping[str, Any], steps: int
) -> Term:
  loss = rooms.find("losses", spec["loss"])
  for target in set(spec["targets"]) - {"teacher"}:
    if target not in spec["reads"]:
      raise UserError(
        f"'{name}' does not read its target '{target}'.", exists=spec["reads"]
      )
  options = without(spec, TERM_KEYS)
  numbers = numbers_of({name: spec})[name]
  scheduled = {
    key: schedules.make(value, steps)
    for key, value in {**options, "weight": spec["weight"]}.items()
    if isinstance(value, Mapping)
  }
  return Term(
    name=name,
    loss=loss,
    reads=_reads(spec["reads"]),
    heads={
      key: _module("heads", head["name"], without(head, ("name",)), common)
      for key, head in spec["heads"].items()
    },
    targets=tuple(spec["targets"]),
    takes_mask="mask" in inspect.signature(loss).parameters,
    options={
      key: value
      for key, value in options.items()
      if key not in numbers and key not in scheduled
    },
    schedules=scheduled,
  )


def _reads(
  reads: Mapping[str, str | Sequence[str]],
) -> dict[str, Address | tuple[Address, ...]]:
  return {
    argument: Address.parse(read)
    if isinstance(read, str)
    else tuple(Address.parse(part) for part in read)
    for argument, read in reads.items()
  }


def _measure(family: Any, spec: Mapping[str, Any]) -> Callable:
  return functools.partial(family.sums, **without(spec, ("name", "reads")))
