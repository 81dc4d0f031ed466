"""Reads a workdir back: evaluates its stages and restores their networks."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from kdjax import registry
from kdjax.errors import UserError
from kdjax.stage import build, grids
from kdjax.stage.stage import Stage
from kdjax.step.views import EVALUATION
from kdjax.training import (
  evaluation,
  initialization,
  origins,
  placed,
  predictors,
  provenance_check,
  stage_variables,
)
from kdjax.training import workdir as workdirs

# The metric that compares embeddings.
RETRIEVAL = "retrieval"


def evaluate(
  workdir: str | pathlib.Path,
  stage: str,
  *,
  split: str = "test",
  which: str = "best",
  accept: Sequence[str] = (),
  quiet: bool = True,
) -> dict[str, Any]:
  """Evaluates a stage's checkpoint on a split.

  Args:
    workdir: of the experiment.
    stage: name of the stage.
    split: of its data.
    which: "best" by validation, or "last".
    accept: "data", "sources" or "teachers", which may differ from what the
      stage was trained with.
    quiet: whether no progress is shown.

  Raises:
    UserError: they differ and are not accepted, or there is no such stage.

  Returns:
    metric -> a value per seed, a float or an array such as `confusion`. With a
    grid, a value per seed and point: seed 0 point 0, seed 0 point 1, ..
  """
  workdir = pathlib.Path(workdir)
  config = workdirs.read_config(workdir)
  build.stage_config(config, stage)  # before anything is compared
  provenance_check.check(config, workdir, stage, accept)
  load_fixed = functools.partial(
    initialization.load_fixed, config=config, workdir=workdir
  )
  placed_stage = placed.place(config, stage, load_fixed)
  built, placement = placed_stage.stage, placed_stage.placement
  seeds = placed_stage.seeds
  shapes = initialization.variable_shapes(built)
  variables = stage_variables.load(
    workdir, stage, which=which, template=shapes, seeds=len(seeds)
  )
  variables = placement.put(variables)
  fixed = placement.put_fixed(placed_stage.fixed)

  def measure(sources):
    evaluator = evaluation.SplitEvaluator(built, placement, sources)
    evaluator.task = "" if quiet else f"{stage}, {split}"
    return evaluator.measure(variables, fixed)

  if split == "train":
    # The training examples differ between seeds, for example their labels.
    results = [
      measure([built.load(split, seed)])[i] for i, seed in enumerate(seeds)
    ]
  else:
    results = measure(built.load_for_evaluation(split, seeds))
  return {name: [metrics[name] for metrics in results] for name in results[0]}


def restore(
  workdir: str | pathlib.Path,
  stage: str,
  *,
  network: str = "student",
  seed: int | None = None,
  which: str = "best",
  point: int = 0,
  accept: Sequence[str] = (),
) -> tuple[Any, Any]:
  """Restores a trained network, ready to call.

    model, variables = kdjax.restore("runs/digits", "distilled")
    outputs = model.apply(variables, {"image": image}, train=False)

  Args:
    workdir: of the experiment.
    stage: that trained it.
    network: name of the network in the stage.
    seed: one of the run's seeds; None is the first.
    which: "best" by validation, or "last".
    point: number of the grid point, if the stage has a grid.
    accept: ("sources",) allows code that differs from what it was trained with.

  Returns:
    The Flax module, and its variables. If the data has pipelines or raw bytes,
    a wrapper that takes raw inputs; its `module` is the Flax module. For a
    student that predicts through a head of its stage (SimKD), a wrapper of
    both. Of a stage with `quantize`, a wrapper that rounds as in training; its
    `network` is the Flax module. All are called in the same way.

  Raises:
    UserError: the workdir has no such stage, network, seed or point.
  """
  found = _found(workdir, stage, network, seed, which, point, accept)
  if found.with_head:
    return predictors.StudentWithHead(found.stage), found.variables
  built = found.stage
  module = built.objective.networks[network]
  if _reads_raw_inputs(built, module):
    views = built.objective.views
    module = predictors.RawInputNetwork(module, views, built.once)
  return module, found.variables


@dataclasses.dataclass(frozen=True)
class Restored:
  """A stage and the variables of one of its networks.

  Attributes:
    stage: that trained it; without terms and metrics, unless `with_head`.
    variables: of the network; if `with_head`, {"stage": .., "fixed": ..}.
    seed: of the variables.
    metrics: the config of the stage's metrics.
    with_head: whether the student predicts through a head of its stage.
  """

  stage: Stage
  variables: Any
  seed: int
  metrics: Mapping[str, Any]
  with_head: bool


def state_of(
  workdir: str | pathlib.Path,
  stage: str,
  *,
  seed: int | None = None,
  which: str = "best",
  point: int = 0,
  accept: Sequence[str] = (),
  whole: bool = False,
) -> Restored:
  """A stage and its student's variables; as `restore`, for other layers.

  A student that is retrieved through a head comes with this head, too; if
  `whole`, every student with the terms, metrics and teachers of its stage.
  """
  keeps = (lambda *_: True) if whole else _gives_results_through_head
  found = (workdir, stage, "student", seed, which, point, accept)
  return _found(*found, keeps=keeps)


def _found(
  workdir, stage, network, seed, which, point, accept, keeps=None
) -> Restored:
  workdir = pathlib.Path(workdir)
  config = workdirs.read_config(workdir)
  seeds = placed.seeds_of(config)
  seed = seeds[0] if seed is None else seed
  if seed not in seeds:
    raise UserError(f"No seed {seed} in {workdir}.", exists=map(str, seeds))
  position, states = seeds.index(seed), len(seeds)
  grid = config["stages"].get(stage, {}).get("grid")
  if grid:
    points = grids.count(grid)
    if not 0 <= point < points:
      raise UserError(
        f"No point {point} in the grid of '{stage}', which has {points}.",
        f"Expected 0 to {points - 1}.",
      )
    position, states = position * points + point, states * points
  code = _code_of(config, stage, network, keeps or _predicts_through_head)
  provenance_check.check(code, workdir, stage, accept, parts=("sources",))
  metrics = config["stages"][stage]["metrics"]
  if code is config:
    built, variables = _with_head(config, workdir, stage, position, which)
    return Restored(built, variables, seed, metrics, True)
  built = build.build(code, stage)
  networks = built.objective.networks
  if network not in networks:
    raise UserError(
      f"No network '{network}' in the stage '{stage}'.",
      exists=networks,
      near=network,
    )
  variables = origins.trained(
    code, workdir, (stage, network), which, seeds, states
  )
  return Restored(built, variables[position], seed, metrics, False)


def _code_of(
  config: Mapping[str, Any], stage: str, network: str, keeps: Callable
) -> Mapping[str, Any]:
  """The config without the losses and metrics that a network does not need.

  They may not be registered any more.
  """
  build.stage_config(config, stage)  # raises for an unknown stage
  if network == "student" and keeps(config, stage):
    return config
  bare = {**config["stages"][stage], "terms": {}, "metrics": {}}
  return {**config, "stages": {**config["stages"], stage: bare}}


def _reads_raw_inputs(built: Stage, module: Any) -> bool:
  """Whether a network's inputs are preprocessed raw data."""
  pipelines = built.objective.views.of(module.reads).pipelines[EVALUATION]
  raw = [
    key
    for key in module.reads
    if key in built.spec and built.spec[key].dtype in (np.uint8, np.int16)
  ]
  once = built.once.pipelines.keys() & {*module.reads}
  return bool(pipelines or raw or once)


def _predicts_through_head(config: Mapping[str, Any], stage: str) -> bool:
  """Whether a stage has a head that its student keeps, or a metric reads."""
  spec = config["stages"].get(stage, {})
  kept = any(
    getattr(registry.find("heads", head["name"]), "keep", False)
    for term in spec.get("terms", {}).values()
    for head in term["heads"].values()
    if "name" in head
  )
  read = [it["reads"].get("student") for it in spec.get("metrics", {}).values()]
  return kept or any(f"{it}".startswith("heads/") for it in read)


def _gives_results_through_head(config: Mapping[str, Any], stage: str) -> bool:
  """As `_predicts_through_head`, with heads of embeddings to be compared."""
  metrics = config["stages"].get(stage, {}).get("metrics", {})
  read = [
    it["reads"].get(retrieval_side(it["reads"]))
    for it in metrics.values()
    if it["name"] == RETRIEVAL
  ]
  return _predicts_through_head(config, stage) or any(
    f"{it}".startswith("heads/") for it in read
  )


def retrieval_side(reads: Mapping[str, Any]) -> str:
  """The argument of a retrieval metric that the student alone computes."""
  for argument in ("query", "key"):
    network, _, output = f"{reads.get(argument)}".partition("/")
    if network == "student":
      return argument
    if network == "heads" and output.endswith("/student"):
      return argument
  return ""


def _with_head(config, workdir, stage, position, which):
  """A stage, and the variables of one state with its teachers'."""
  built = build.build(config, stage)
  fixed = initialization.load_fixed(
    built, placed.seeds_of(config), config=config, workdir=workdir
  )
  fixed = grids.fixed_per_point(built.config, fixed)
  shapes = initialization.variable_shapes(built)
  loaded = stage_variables.load(
    workdir, stage, which=which, template=shapes, seeds=len(fixed)
  )
  variables = {"stage": loaded[position], "fixed": fixed[position]}
  return built, variables
