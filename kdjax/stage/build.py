"""Builds a `Stage` from a config. Later layers see no experiment config."""

import functools
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import optax

from kdjax import registry
from kdjax.config import fields
from kdjax.config.fields import without
from kdjax.errors import UserError
from kdjax.stage import class_names, groups, networks, parts, pipelines
from kdjax.stage.grids import numbers_of
from kdjax.stage.stage import Stage
from kdjax.step import optimizer, schedules, uncertainty
from kdjax.step.adapter import Adapter
from kdjax.step.addresses import Address
from kdjax.step.objective import Objective
from kdjax.step.rates import with_rates
from kdjax.step.step import Family, make_eval_step, make_train_step
from kdjax.step.terms import Term
from kdjax.types import Spec

# Keys of a config that are not options of the component.
TERM_KEYS = fields.RESERVED["losses"]
HEAD_KEYS, DATA_KEYS = fields.RESERVED["heads"], fields.RESERVED["data"]


def build(
  config: Mapping[str, Any], name: str, axis_name: str | None = None
) -> Stage:
  """Builds a stage of an experiment.

  Args:
    config: of the experiment, as nested dicts.
    name: of the stage.
    axis_name: name of the device axis in the step; None under jit.

  Raises:
    UserError: the experiment has no such stage, or a component or a reference
      of its config does not exist.
  """
  spec = class_names.resolved(config, name, stage_config(config, name))
  once = pipelines.once(spec["data"])
  leaves = once.spec(raw_spec(spec["data"]))
  spec["metrics"] = groups.with_groups(spec["metrics"], spec["select"], leaves)
  common = {"axis_name": axis_name, "dtype": jnp.dtype(config["dtype"])}
  trained, teachers = networks.build_networks(config, name, common)
  teachers |= networks.cached_parts(config, name, trained)
  objective = Objective(
    networks=trained,
    teachers=teachers,
    views=pipelines.views(spec),
    averages=networks.averaged_teachers(config, name),
    terms=tuple(
      _term(key, spec["terms"], common, spec["steps"]) for key in spec["terms"]
    ),
    axis_name=axis_name,
    micro_batches=spec["micro_batches"],
    still={key: parts.still(it) for key, it in spec["networks"].items()},
    adapted={key: parts.adapted(it) for key, it in spec["networks"].items()},
    # A workdir from before the knob existed has none.
    weighting=spec.get("weighting", uncertainty.FIXED),
  )
  rule = _rule(spec)
  families = {
    key: registry.find("metrics", metric["name"])
    for key, metric in spec["metrics"].items()
  }
  measured = {
    key: _family(families[key], metric, common)
    for key, metric in spec["metrics"].items()
  }
  return Stage(
    name=name,
    config=spec,
    objective=objective,
    optimizer=rule,
    families=families,
    spec=leaves,
    once=once,
    train_step=make_train_step(objective, rule, ema_decay=spec["ema_decay"]),
    measured=measured,
    eval_step=make_eval_step(objective, measured),
    corruptions=pipelines.corruptions(spec),
    teacher_classes=class_names.of_teachers(config, name, spec),
  )


def _rule(spec: Mapping[str, Any]) -> optax.GradientTransformation:
  """A stage's optimizer, with the rates of its networks' parts."""
  rule = optimizer.make(spec["optimizer"], spec["steps"])
  rates = {
    key: parts.rates(it, spec["steps"]) for key, it in spec["networks"].items()
  }
  return with_rates(rule, rates) if any(rates.values()) else rule


def raw_spec(data: Mapping[str, Any]) -> Spec:
  """The shapes and dtypes of one example of a data set, before `once`."""
  return registry.find("data", data["name"]).spec(**without(data, DATA_KEYS))


def stage_config(config: Mapping[str, Any], name: str) -> dict[str, Any]:
  """The config of a stage, with the experiment's data options merged.

  Parts of networks whose outputs are cached are among its teachers.

  Raises:
    UserError: the experiment has no such stage.
  """
  if name not in config["stages"]:
    exists = config["order"]
    raise UserError(f"No stage '{name}'.", exists=exists, near=name)
  spec = dict(config["stages"][name])
  spec["data"] = {**config["data"], **spec["data"]}
  # A workdir from before the knob existed has none.
  spec["test"] = config.get("test", True)
  spec["records"] = config.get("records", ("tensorboard",))
  spec["experiment"] = config.get("name", "")
  spec["teachers"] = {**spec["teachers"], **parts.cached(spec["networks"])}
  return spec


def _term(
  name: str,
  terms: Mapping[str, Mapping],
  common: Mapping[str, Any],
  steps: int,
) -> Term:
  spec = terms[name]
  loss = registry.find("losses", spec["loss"])
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
    heads={key: _adapter(terms, name, key, common) for key in spec["heads"]},
    bridges={
      key: _bridge(f"{name}:{key}", bridge, common)
      for key, bridge in spec.get("bridges", {}).items()
    },
    targets=tuple(spec["targets"]),
    group=spec["group"],
    takes_mask="mask" in inspect.signature(loss).parameters,
    options={
      key: value
      for key, value in options.items()
      if key not in numbers and key not in scheduled
    },
    schedules=scheduled,
    # "" says that the term has no mask.
    skips_padding="mask" not in spec["reads"],
  )


def _bridge(
  name: str, spec: Mapping[str, Any], common: Mapping[str, Any]
) -> Adapter:
  """The bridge of a term's argument, "term:argument"."""
  if "of" in spec or spec["init_from"]:
    raise UserError(
      f"The bridge of '{name}' is another term's or has an `init_from`.",
      'A bridge starts anew: head("bridge", ..) without `init_from`.',
    )
  return Adapter(f"{name}:bridge", _head(spec, common), spec["still"])


def _reads(
  reads: Mapping[str, str | Sequence[str]],
) -> dict[str, Address | tuple[Address, ...]]:
  return {
    argument: Address.parse(read)
    if isinstance(read, str)
    else tuple(Address.parse(part) for part in read)
    for argument, read in reads.items()
    if (argument, read) != ("mask", "")
  }


def _adapter(
  terms: Mapping[str, Mapping],
  term: str,
  argument: str,
  common: Mapping[str, Any],
) -> Adapter:
  """The head of a term's argument: its own, or another term's."""
  spec = terms[term]["heads"][argument]
  still = spec["still"]
  if "of" in spec:
    term, _, argument = spec["of"].partition("/")
    heads = terms[term]["heads"] if term in terms else {}
    if "name" not in heads.get(argument, {}):
      raise UserError(
        f"No head '{spec['of']}' to share.",
        exists=(
          f"{one}/{key}"
          for one, config in terms.items()
          for key, head in config["heads"].items()
          if "name" in head
        ),
        near=spec["of"],
      )
    spec = heads[argument]
  module = _head(spec, common)
  if getattr(module, "both", False) and argument != "student":
    raise UserError(
      f"The head '{spec['name']}' of '{term}' adapts both sides of the term.",
      "Set it as the head of 'student'.",
    )
  return Adapter(f"{term}:{argument}", module, still)


def _family(
  family: Any, spec: Mapping[str, Any], common: Mapping[str, Any]
) -> Family:
  options = without(spec, ("name", "reads", "heads"))
  measured = getattr(family, "sums", None) or family.rows
  return Family(
    measured=functools.partial(measured, **options),
    adds=hasattr(family, "sums"),
    reads=_reads(spec["reads"]),
    heads={key: _head(head, common) for key, head in spec["heads"].items()},
  )


def _head(spec: Mapping[str, Any], common: Mapping[str, Any]) -> Any:
  """The module of a head from its config."""
  options = without(spec, HEAD_KEYS)
  return networks.build_module("heads", spec["name"], options, common)
