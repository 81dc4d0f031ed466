"""What a stage's networks, heads and teachers start from."""

import pathlib
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax

from kdjax import pretrained
from kdjax.errors import UserError
from kdjax.stage import build
from kdjax.stage.stage import Stage
from kdjax.step.state import Fixed
from kdjax.training import stage_variables
from kdjax.types import Variables


def fixed_of(
  stage: Stage, workdir: pathlib.Path, seeds: list[int]
) -> list[Fixed]:
  """What each seed's steps read: its teachers, trained before or published."""
  taught: list[dict[str, Any]] = [{} for _ in seeds]
  for name, shape in stage.teacher_shapes().items():
    teacher = stage.config["teachers"][name]
    if "outputs" in teacher:
      loaded = [{}]
    elif "frozen" in teacher:
      module = stage.objective.teachers[name]
      loaded = [_frozen(name, teacher["frozen"], module, shape)]
    else:
      loaded = stage_variables.load(
        workdir,
        teacher["stage"],
        teacher["network"],
        which=teacher["which"],
        template=shape,
        seeds=len(seeds),
      )
    for place, one in enumerate(taught):
      one[name] = loaded[place] if teacher["paired"] else loaded[0]
  return [
    stage.fixed(one, stage.facts(seed))
    for seed, one in zip(seeds, taught, strict=True)
  ]


def given(
  config: Mapping[str, Any],
  stage: Stage,
  workdir: pathlib.Path,
  seeds: list[int],
) -> list[dict[str, Any]]:
  """For each seed, the networks and heads that start from others' variables.

  Args:
    config: of the experiment, as nested dicts.
    stage: whose they are.
    workdir: where earlier stages have run.
    seeds: of the run.

  Returns:
    {"networks": {name: variables}, "heads": likewise} of each seed.
  """
  found: list[dict[str, Any]] = [{"networks": {}, "heads": {}} for _ in seeds]
  shapes = shapes_of(stage)
  for name, spec in stage.config["networks"].items():
    template = shapes["networks"][name]
    loaded = ()
    if spec["init_from"]:
      loaded = _inherited(config, workdir, name, spec, template, len(seeds))
    elif spec.get("pretrained"):
      module = stage.objective.networks[name]
      loaded = (_published(spec, module, template, seed) for seed in seeds)
    elif spec.get("arrays"):
      loaded = (
        pretrained.from_arrays(**spec["arrays"], template=template, seed=seed)
        for seed in seeds
      )
    for place, own in enumerate(loaded):
      found[place]["networks"][name] = own
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
      for place, own in enumerate(loaded):
        found[place]["heads"][name] = own
  return found


def shapes_of(stage: Stage) -> dict[str, Any]:
  """The variables of every trained network and head, as shapes."""
  fixed = jax.eval_shape(stage.fixed, stage.teacher_shapes())
  return jax.eval_shape(stage.init, 0, fixed).best.variables


def check(config: Mapping[str, Any], stage: Stage) -> None:
  """Sees that checkpoints fit, by their headers; reads no weights.

  Args:
    config: of the experiment, as nested dicts.
    stage: whose networks and teachers start from them.

  Raises:
    UserError: one is missing, or has other tensors than its network; or layers
      that a network starts from are not there.
  """
  taught, trained = stage.teacher_shapes(), shapes_of(stage)["networks"]
  for name, teacher in stage.config["teachers"].items():
    if "frozen" in teacher:
      module = stage.objective.teachers[name]
      _fits(name, teacher["frozen"], module, taught[name])
  for name, spec in stage.config["networks"].items():
    path, layers = spec.get("pretrained"), spec.get("from_layers")
    if spec["init_from"]:
      _, like, layers = _source(config, name, spec, trained[name])
      if layers is not None:
        pretrained.origins(trained[name], like, layers)
    elif path and layers is None:
      module = stage.objective.networks[name]
      pretrained.fit(path, spec["name"], module, trained[name])
    elif path:
      whole = pretrained.shapes(path, spec["name"], **_classes(spec))
      pretrained.fit(path, spec["name"], *whole)
      pretrained.origins(trained[name], whole[1], layers)


def _inherited(config, workdir, name, spec, template, seeds) -> list[Variables]:
  """Of each seed, what a network of another stage was at its best."""
  (source, other), like, layers = _source(config, name, spec, template)
  loaded = stage_variables.load(
    workdir, source, other, which="best", template=like, seeds=seeds
  )
  if layers is None:
    return loaded
  return [pretrained.inherit(template, one, layers) for one in loaded]


def _source(config, name, spec, template) -> tuple[tuple[str, str], Any, Any]:
  """A stage and its network, that one's shapes, and which layers of it."""
  # It may be another network of that stage: stage/network.
  source, _, other = spec["init_from"].partition("/")
  other, layers = other or name, spec.get("from_layers")
  # With both, the layers are the checkpoint's, from which that stage started.
  if layers is None or spec.get("pretrained"):
    return (source, other), template, None
  there = shapes_of(build.build(config, source))["networks"]
  if other not in there:
    raise UserError(f"The stage '{source}' has no '{other}'.", exists=there)
  return (source, other), there[other], layers


def _published(
  spec: Mapping[str, Any], module: nn.Module, template: Variables, seed: int
) -> Variables:
  """A network's variables from a checkpoint; a part of it, by `from_layers`."""
  path, name = spec["pretrained"], spec["name"]
  if spec.get("from_layers") is None:
    return pretrained.variables(path, name, module, template, seed)
  _, whole = pretrained.load(path, name, seed=seed, **_classes(spec))
  return pretrained.inherit(template, whole, spec["from_layers"])


def _classes(spec: Mapping[str, Any]) -> dict[str, int]:
  """What the whole network of a checkpoint has from the one that is a part."""
  return {key: spec[key] for key in ("num_classes",) if key in spec}


def _frozen(
  name: str, spec: Mapping[str, Any], module: nn.Module, template: Variables
) -> Variables:
  """A teacher's variables from a checkpoint."""
  _fits(name, spec, module, template)
  return pretrained.variables(
    spec["pretrained"], spec["name"], module, template
  )


def _fits(name, spec, module, template) -> None:
  """Raises `UserError` for a checkpoint that lacks something of a teacher."""
  path = spec["pretrained"]
  missing = pretrained.fit(path, spec["name"], module, template).fresh
  if missing:
    raise UserError(
      f"The teacher '{name}' is frozen, and '{path}' has no"
      f" {', '.join(sorted(missing))}.",
      "Leave out what asks for it, such as num_classes, or train it in a stage"
      " of its own.",
    )
