"""What the stages of a workdir learned: measured again, or ready to call."""

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from kdjax import registry
from kdjax.errors import UserError
from kdjax.stage import build, grids
from kdjax.stage.stage import Stage
from kdjax.step.views import EVALUATION
from kdjax.training import (
  evaluation,
  experiment,
  initialization,
  stage_variables,
)
from kdjax.training import workdir as workdirs


def evaluate(
  workdir: str | pathlib.Path,
  stage: str,
  *,
  split: str = "test",
  which: str = "best",
) -> dict[str, Any]:
  """Measures a stage's checkpoint on a split.

  Args:
    workdir: of the experiment.
    stage: whose networks are measured.
    split: of its data.
    which: "best" by validation, or "last".

  Returns:
    metric -> the value of each seed, a float or an array like `confusion`; of
    a grid, at each point: seed 0 point 0, seed 0 point 1, ..
  """
  workdir = pathlib.Path(workdir)
  config = workdirs.read_config(workdir)
  seeds = experiment.seeds_of(config)
  built = build.build(config, stage)
  placement = experiment.place(config, built)
  placement.check(built.config["batch_size"])
  grid = built.config["grid"]
  fixed = grids.fixed(grid, initialization.fixed_of(built, workdir, seeds))
  seeds = grids.repeated(grid, seeds)
  built = build.build(config, stage, placement.axis_name)
  shapes = initialization.shapes_of(built)
  variables = stage_variables.load(
    workdir, stage, which=which, template=shapes, seeds=len(seeds)
  )
  variables, fixed = placement.put(variables), placement.put_fixed(fixed)
  measure = lambda sources: evaluation.Split(built, placement, sources).measure(
    variables, fixed
  )
  if split == "train":
    # A seed draws what it trains on: which labels, for one.
    results = [
      measure([built.load(split, seed)])[place]
      for place, seed in enumerate(seeds)
    ]
  else:
    results = measure(built.measured_on(split, seeds))
  return {name: [one[name] for one in results] for name in results[0]}


def restore(
  workdir: str | pathlib.Path,
  stage: str,
  *,
  network: str = "student",
  seed: int | None = None,
  which: str = "best",
  point: int = 0,
) -> tuple[Any, Any]:
  """A trained network, ready to call.

    model, variables = kdjax.restore("runs/digits", "distilled")
    outputs = model.apply(variables, {"image": image}, train=False)

  Args:
    workdir: of the experiment.
    stage: that trained it.
    network: which of its networks.
    seed: of those of the run; the first unless given.
    which: "best" by validation, or "last".
    point: of the stage's grid, where it has one.

  Returns:
    The Flax module, and its variables. Where the data goes through pipelines,
    or is of raw bytes, it takes raw inputs, and its `module` is Flax's. A
    student that predicts through a head that it keeps (SimKD) comes with it;
    both are called in the same way.
  """
  workdir = pathlib.Path(workdir)
  config = workdirs.read_config(workdir)
  seeds = experiment.seeds_of(config)
  seed = seeds[0] if seed is None else seed
  if seed not in seeds:
    raise UserError(f"No seed {seed} in {workdir}.", exists=map(str, seeds))
  grid = config["stages"].get(stage, {}).get("grid")
  if grid:
    count = grids.count(grid)
    if not 0 <= point < count:
      raise UserError(f"No point {point} in '{stage}', which has {count}.")
    place, seeds = seeds.index(seed) * count + point, range(len(seeds) * count)
    seed = place
  if network == "student" and _keeps(config, stage):
    return _through(config, workdir, stage, seeds, seeds.index(seed), which)
  if stage in config["stages"]:
    # A network needs no loss, which may have been registered elsewhere.
    bare = {**config["stages"][stage], "terms": {}, "metrics": {}}
    config = {**config, "stages": {**config["stages"], stage: bare}}
  built = build.build(config, stage)
  known = built.objective.networks
  if network not in known:
    raise UserError(f"No network '{network}'.", exists=known, near=network)
  shapes = initialization.shapes_of(built)["networks"][network]
  variables = stage_variables.load(
    workdir, stage, network, which=which, template=shapes, seeds=len(seeds)
  )
  module = known[network]
  if _is_prepared(built, module):
    module = evaluation.Raw(module, built.objective.views)
  return module, variables[seeds.index(seed)]


def _is_prepared(built: Stage, module: Any) -> bool:
  """Whether what a network reads is changed between the data set and it."""
  pipelines = built.objective.views.of(module.reads).pipelines[EVALUATION]
  raw = [
    key
    for key in module.reads
    if key in built.spec and built.spec[key].dtype in (np.uint8, np.int16)
  ]
  return bool(pipelines or raw)


def _keeps(config: Mapping[str, Any], stage: str) -> bool:
  """Whether a head of a stage stays with its student."""
  terms = config["stages"].get(stage, {}).get("terms", {})
  return any(
    getattr(registry.find("heads", head["name"]), "keep", False)
    for term in terms.values()
    for head in term["heads"].values()
    if "name" in head
  )


def _through(config, workdir, stage, seeds, place, which):
  """A student and the head that it predicts through, of one seed."""
  built = build.build(config, stage)
  fixed = initialization.fixed_of(built, workdir, seeds)
  shapes = initialization.shapes_of(built)
  loaded = stage_variables.load(
    workdir, stage, which=which, template=shapes, seeds=len(seeds)
  )
  variables = {"stage": loaded[place], "fixed": fixed[place]}
  return evaluation.Predictor(built), variables
