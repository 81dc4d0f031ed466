"""Loads the initial variables of a stage's networks, heads and teachers."""

import pathlib
from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from kdjax import pretrained
from kdjax.errors import UserError
from kdjax.stage import build
from kdjax.stage.stage import Stage
from kdjax.step.state import Fixed
from kdjax.training import stage_variables
from kdjax.types import Variables


def load_fixed(
  stage: Stage, seeds: list[int], *, workdir: pathlib.Path
) -> list[Fixed]:
  """Loads the teachers of each seed, with the numbers of the terms.

  Args:
    stage: that has the teachers.
    seeds: of the run.
    workdir: that holds the teachers' finished stages.

  Raises:
    UserError: a checkpoint does not exist or does not fit.
  """
  teachers: list[dict[str, Any]] = [{} for _ in seeds]
  for name, shape in stage.teacher_shapes().items():
    teacher = stage.config["teachers"][name]
    if "outputs" in teacher:
      loaded = [{}]
    elif "frozen" in teacher:
      module = stage.objective.teachers[name]
      loaded = [_load_frozen(name, teacher["frozen"], module, shape)]
    else:
      loaded = stage_variables.load(
        workdir,
        teacher["stage"],
        teacher["network"],
        which=teacher["which"],
        template=shape,
        seeds=len(seeds),
      )
    for i, of_seed in enumerate(teachers):
      of_seed[name] = loaded[i] if teacher["paired"] else loaded[0]
  return [
    stage.fixed(of_seed, stage.data_statistics(seed))
    for seed, of_seed in zip(seeds, teachers, strict=True)
  ]


def initial_variables(
  config: Mapping[str, Any],
  stage: Stage,
  workdir: pathlib.Path,
  seeds: list[int],
) -> list[dict[str, Any]]:
  """Loads the networks and heads that do not start from fresh variables.

  Args:
    config: of the experiment, as nested dicts.
    stage: that has the networks.
    workdir: that holds earlier stages.
    seeds: of the run.

  Returns:
    For each seed, {"networks": {name: variables}, "heads": {name: variables}}.
  """
  initial: list[dict[str, Any]] = [{"networks": {}, "heads": {}} for _ in seeds]
  shapes = variable_shapes(stage)
  for name, spec in stage.config["networks"].items():
    template = shapes["networks"][name]
    loaded = ()
    if spec["init_from"]:
      loaded = _load_earlier(config, workdir, name, spec, template, len(seeds))
    elif spec.get("pretrained"):
      module = stage.objective.networks[name]
      loaded = (_load_published(spec, module, template, seed) for seed in seeds)
    elif spec.get("arrays"):
      loaded = (
        pretrained.from_arrays(**spec["arrays"], template=template, seed=seed)
        for seed in seeds
      )
    for of_seed, variables in zip(initial, loaded, strict=False):
      of_seed["networks"][name] = variables
  for term, spec in stage.config["terms"].items():
    for argument, head in spec["heads"].items():
      if not head.get("init_from"):
        continue
      name = f"{term}:{argument}"
      loaded = stage_variables.load(
        workdir,
        head["init_from"],
        name,
        kind="heads",
        which="best",
        template=shapes["heads"][name],
        seeds=len(seeds),
      )
      for of_seed, variables in zip(initial, loaded, strict=True):
        of_seed["heads"][name] = variables
  return initial


def variable_shapes(stage: Stage) -> dict[str, Any]:
  """The shapes of the variables of all trained networks and heads."""
  state, _, _ = stage.shapes()
  return state.best.variables


def check(config: Mapping[str, Any], stage: Stage) -> None:
  """Checks, by the checkpoints' headers, that checkpoints fit their networks.

  Args:
    config: of the experiment, as nested dicts.
    stage: that has the networks and teachers.

  Raises:
    UserError: a checkpoint is missing, its tensors do not fit the network, or
      it lacks layers that a network inherits.
  """
  teachers, trained = stage.teacher_shapes(), variable_shapes(stage)["networks"]
  for name, teacher in stage.config["teachers"].items():
    if "frozen" in teacher:
      module = stage.objective.teachers[name]
      _check_frozen(name, teacher["frozen"], module, teachers[name])
  for name, spec in stage.config["networks"].items():
    path, layers = spec.get("pretrained"), spec.get("from_layers")
    if spec["init_from"]:
      _, shapes, layers = _source(config, name, spec, trained[name])
      if layers is not None:
        pretrained.origins(trained[name], shapes, layers)
    elif path and layers is None:
      module = stage.objective.networks[name]
      pretrained.fit(path, spec["name"], module, trained[name])
    elif path:
      whole = pretrained.shapes(path, spec["name"], **_classes(spec))
      pretrained.fit(path, spec["name"], *whole)
      pretrained.origins(trained[name], whole[1], layers)


def _load_earlier(
  config, workdir, name, spec, template, seeds
) -> list[Variables]:
  """The best variables of a network of an earlier stage, for each seed."""
  (source, other), shapes, layers = _source(config, name, spec, template)
  loaded = stage_variables.load(
    workdir, source, other, which="best", template=shapes, seeds=seeds
  )
  if layers is None:
    return loaded
  return [pretrained.inherit(template, one, layers) for one in loaded]


def _source(config, name, spec, template) -> tuple[tuple[str, str], Any, Any]:
  """(stage, network) of `init_from`, its shapes, and the inherited layers."""
  # Another network of the stage is written as stage/network.
  source, _, other = spec["init_from"].partition("/")
  other, layers = other or name, spec.get("from_layers")
  # With both, `from_layers` is about the checkpoint of the earlier stage.
  if layers is None or spec.get("pretrained"):
    return (source, other), template, None
  shapes = variable_shapes(build.build(config, source))["networks"]
  if other not in shapes:
    raise UserError(
      f"The stage '{source}' has no network '{other}', from which '{name}'"
      " starts.",
      exists=shapes,
      near=other,
    )
  return (source, other), shapes[other], layers


def _load_published(
  spec: Mapping[str, Any], module: nn.Module, template: Variables, seed: int
) -> Variables:
  """A network's variables from a published checkpoint, or from its layers."""
  path, name = spec["pretrained"], spec["name"]
  if spec.get("from_layers") is None:
    return pretrained.variables(path, name, module, template, seed)
  _, whole = pretrained.load(path, name, seed=seed, **_classes(spec))
  return pretrained.inherit(template, whole, spec["from_layers"])


def _classes(spec: Mapping[str, Any]) -> dict[str, int]:
  """The options that the whole network of a checkpoint shares with a part."""
  return {key: spec[key] for key in ("num_classes",) if key in spec}


def _load_frozen(
  name: str, spec: Mapping[str, Any], module: nn.Module, template: Variables
) -> Variables:
  """A frozen teacher's variables from a published checkpoint."""
  _check_frozen(name, spec, module, template)
  return pretrained.variables(
    spec["pretrained"], spec["name"], module, template
  )


def _check_frozen(name, spec, module, template) -> None:
  """Raises `UserError` for a checkpoint that lacks tensors of a teacher."""
  path = spec["pretrained"]
  missing = pretrained.fit(path, spec["name"], module, template).fresh
  if missing:
    raise UserError(
      f"The teacher '{name}' is frozen, and '{path}' has no"
      f" {', '.join(sorted(missing))}.",
      "Leave out the option that needs it, such as num_classes, or train the"
      " teacher in a stage.",
    )
