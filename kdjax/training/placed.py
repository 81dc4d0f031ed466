"""A stage on its devices: what training, caching and evaluation start with."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kdjax.devices.placement import Placement
from kdjax.stage import build, grids, parts
from kdjax.stage.stage import Stage
from kdjax.step.parts import STILL
from kdjax.step.state import Fixed


@dataclasses.dataclass(frozen=True)
class PlacedStage:
  """A stage, its placement, and the seeds and fixed arrays of its states.

  Attributes:
    stage: built with the placement's axis name.
    placement: of one state for each seed and grid point.
    seeds: the seed of each state.
    fixed: teachers and numbers of each state, on the host.
  """

  stage: Stage
  placement: Placement
  seeds: list[int]
  fixed: list[Fixed]


def place(
  config: Mapping[str, Any],
  name: str,
  load_fixed: Callable[[Stage, list[int]], Sequence[Fixed]],
) -> PlacedStage:
  """Builds a stage for its devices and loads its teachers.

  Args:
    config: of the experiment, as nested dicts.
    name: of the stage.
    load_fixed: (stage, seeds) -> teachers and numbers of each seed.

  Raises:
    UserError: the devices do not divide the batch, or a teacher's checkpoint
      does not exist or does not fit.
  """
  placement = placement_of(config, name)
  stage = build.build(config, name, placement.axis_name)
  placement.check(stage.config["batch_size"])
  seeds, grid = seeds_of(config), stage.config["grid"]
  fixed = grids.fixed_per_point(stage.config, load_fixed(stage, seeds))
  seeds = grids.repeat_per_point(grid, seeds)
  return PlacedStage(stage, placement, seeds, fixed)


def placement_of(config: Mapping[str, Any], name: str) -> Placement:
  """The placement of a stage's states.

  Args:
    config: of the experiment, as nested dicts.
    name: of the stage.
  """
  stage = build.stage_config(config, name)
  paired = {
    teacher: options["paired"]
    for teacher, options in stage["teachers"].items()
    if "paired" in options
  }
  for network, spec in stage["networks"].items():
    if parts.still(spec):
      paired[f"{STILL}{network}"] = not parts.is_shared(spec)
  states = config["seeds"] * grids.count(stage["grid"])
  return Placement(config["placement"], states, config["seed_axis"], paired)


def seeds_of(config: Mapping[str, Any]) -> list[int]:
  """The seeds of an experiment."""
  return [config["seed"] + i for i in range(config["seeds"])]
