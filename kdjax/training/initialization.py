"""Loads the initial variables of a stage's networks, heads and teachers."""

import pathlib
from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from kdjax import pretrained
from kdjax.errors import UserError
from kdjax.stage import parts
from kdjax.stage.stage import Stage
from kdjax.step import parts as held
from kdjax.step.state import Fixed
from kdjax.training import origins, stage_variables
from kdjax.types import Variables


def load_fixed(
  stage: Stage,
  seeds: list[int],
  *,
  config: Mapping[str, Any],
  workdir: pathlib.Path,
) -> list[Fixed]:
  """Loads the teachers of each seed, and what networks hold still.

  Args:
    stage: that has the teachers.
    seeds: of the run.
    config: of the experiment, as nested dicts.
    workdir: that holds the teachers' finished stages.

  Raises:
    UserError: a checkpoint does not exist or does not fit.
  """
  teachers: list[dict[str, Any]] = [{} for _ in seeds]
  for name, shape in stage.teacher_shapes().items():
    teacher = stage.config["teachers"][name]
    if "part" in teacher:
      continue  # is among what its network holds still
    if "outputs" in teacher:
      loaded = [{}]
    elif "frozen" in teacher:
      module = stage.objective.teachers[name]
      loaded = [_load_frozen(name, teacher["frozen"], module, shape, seeds[0])]
    else:
      loaded = origins.trained(
        config,
        workdir,
        (teacher["stage"], teacher["network"]),
        teacher["which"],
        seeds,
      )
    for i, of_seed in enumerate(teachers):
      of_seed[name] = loaded[i] if teacher["paired"] else loaded[0]
  for name, loaded in origins.still(config, stage, workdir, seeds).items():
    outside = held.paths_of(stage.config["teachers"], name)
    for of_seed, variables in zip(teachers, loaded, strict=True):
      for part, path in outside.items():
        of_seed[part] = held.at(variables, path)
        variables = held.without(variables, path)
      of_seed[f"{held.STILL}{name}"] = variables
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
  """Loads the networks, parts and heads that do not start fresh.

  Args:
    config: of the experiment, as nested dicts.
    stage: that has the networks.
    workdir: that holds earlier stages.
    seeds: of the run.

  Returns:
    For each seed, {"networks": {name: variables}, "heads": {name: variables}},
    without the parts of a network that start fresh.
  """
  initial: list[dict[str, Any]] = [{"networks": {}, "heads": {}} for _ in seeds]
  shapes = variable_shapes(stage)
  for name in stage.config["networks"]:
    loaded = origins.load(config, stage, workdir, name, seeds)
    for of_seed, variables in zip(initial, loaded, strict=True):
      if variables:
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


def check(config: Mapping[str, Any], stage: Stage) -> list[str]:
  """Checks that origins fit their networks; reads no values.

  Args:
    config: of the experiment, as nested dicts.
    stage: that has the networks and teachers.

  Returns:
    A sentence for each network or part that starts from another one.

  Raises:
    UserError: a checkpoint is missing, its tensors do not fit the network, it
      lacks layers that a network inherits, or a part that is held still has no
      origin.
  """
  shapes, sentences = stage.teacher_shapes(), []
  for name, teacher in stage.config["teachers"].items():
    if "frozen" in teacher:
      module = stage.objective.teachers[name]
      _check_frozen(name, teacher["frozen"], module, shapes[name])
  for name, spec in stage.config["networks"].items():
    parts.check_patterns(spec, stage.network_shapes()[name], name)
    sentences += origins.check(config, stage, name)
  return sentences


def _load_frozen(
  name: str,
  spec: Mapping[str, Any],
  module: nn.Module,
  template: Variables,
  seed: int,
) -> Variables:
  """A frozen teacher's variables from a published checkpoint or arrays."""
  if spec.get("arrays"):
    return pretrained.from_arrays(
      **spec["arrays"], template=template, seed=seed
    )
  _check_frozen(name, spec, module, template)
  return pretrained.variables(
    spec["pretrained"], spec["name"], module, template
  )


def _check_frozen(name, spec, module, template) -> None:
  """Raises `UserError` for a checkpoint that lacks tensors of a teacher."""
  if spec.get("arrays"):
    return
  path = spec["pretrained"]
  missing = pretrained.fit(path, spec["name"], module, template).fresh
  if missing:
    raise UserError(
      f"The teacher '{name}' is frozen, and '{path}' has no"
      f" {', '.join(sorted(missing))}.",
      "Leave out the option that needs it, such as num_classes, or train the"
      " teacher in a stage.",
    )
