"""Checks an experiment before anything is trained or written.

`plan` checks the values of the config first, then builds each stage and traces
its steps on shapes. `workdir.py` and `dependencies.py` check the workdir.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from kdjax.devices import processes
from kdjax.errors import UserError
from kdjax.stage import (
  build,
  grids,
  ranges,
  statistics,
  tokenizers,
  trace,
  vocabulary,
)
from kdjax.stage.stage import Stage
from kdjax.step import quantization, uncertainty
from kdjax.step.addresses import addresses
from kdjax.step.step import training_only
from kdjax.step.views import EVALUATION, ONCE, TRAIN
from kdjax.teachers import outputs, programs
from kdjax.training import (
  dependencies,
  initialization,
  patience,
  placed,
  recorders,
)

DTYPES = ("float32", "bfloat16")
# The first words of other addresses: no network or teacher has such a name.
RESERVED = {"batch", "data"}


def plan(config: Mapping[str, Any], names: Sequence[str]) -> None:
  """Checks the config of an experiment, and traces stages on shapes.

  Args:
    config: of the experiment, as nested dicts.
    names: of the stages that are to run.

  Raises:
    UserError: a value, an address, a modality, a shape or the number of
      devices does not fit.
  """
  _check_experiment(config, names)
  for name in names:
    stage = build.stage_config(config, name)
    _check_values(name, stage)
    _check_names(name, stage)
    _check_sources(config, name, stage)
    _check_devices(config, name, stage)
    _check_networks(config, build.build(config, name))


def _check_experiment(config: Mapping[str, Any], names: Sequence[str]) -> None:
  """Checks what belongs to the whole experiment."""
  _at_least("seeds", config["seeds"], 1)
  _at_least("seed", config["seed"], 0)
  if config["seed"] + config["seeds"] > 2**31:
    raise UserError(
      f"seed is {config['seed']}, and there are {config['seeds']} seeds.",
      "Expected seeds below 2**31.",
    )
  recorders.check(config.get("records", ()))
  _one_of("dtype", config["dtype"], DTYPES)
  if not names:
    raise UserError("The experiment has no stages.", "Expected at least one.")
  for name in config["order"]:
    if not re.fullmatch(r"[\w-]+", name):
      raise UserError(
        f"A stage has the name '{name}'.",
        "The name is also a folder's: expected letters, digits, _ and -.",
      )
  for pair in config["gains"]:
    for name in pair:
      _one_of("A stage in gains", name, config["order"])
  stages = json.dumps(config["stages"])
  data = config["data"]
  views = [("data.pipelines", view) for view in data["pipelines"]]
  views += [("data.drops", view) for view in data.get("drops", {})]
  views += [
    (f"stages.{name}.generated", view)
    for name, stage in config["stages"].items()
    for view in stage.get("generated", {})
  ]
  for key, view in views:
    if view not in (TRAIN, EVALUATION, ONCE) and f"@{view}/" not in stages:
      raise UserError(
        f"{key} has the view '{view}', which no term reads.",
        f"A term reads it at an address such as student@{view}/logits.",
        exists=(TRAIN, EVALUATION, ONCE),
        near=view,
      )


def _check_values(name: str, stage: Mapping[str, Any]) -> None:
  """Checks the numbers and choices in a stage's config."""
  path = f"stages.{name}"
  for key, teacher in stage["teachers"].items():
    at = f"{path}.teachers.{key}"
    if "stage" in teacher:
      _one_of(f"{at}.which", teacher["which"], ("best", "last"))
    _one_of(f"{at}.dtype", teacher.get("dtype", ""), ("", *DTYPES))
    _at_least(f"{at}.chunks", teacher.get("chunks", 1), 1)
  for key in ("steps", "batch_size", "log_every", "micro_batches"):
    _at_least(f"{path}.{key}", stage[key], 1)
  for key in ("eval_every", "save_every", "steps_per_call"):
    _at_least(f"{path}.{key}", stage[key], 0)
  if not stage["terms"]:
    raise UserError(
      f"The stage '{name}' has no terms.", "Expected at least one loss."
    )
  patience.check(path, stage)
  _one_of(f"{path}.select_mode", stage["select_mode"], ("max", "min"))
  weighting = stage.get("weighting", uncertainty.FIXED)
  _one_of(f"{path}.weighting", weighting, uncertainty.WEIGHTINGS)
  impute = stage.get("impute", statistics.NONE)
  _one_of(f"{path}.impute", impute, (statistics.NONE, statistics.BY_MEAN))
  quantize = stage.get("quantize", quantization.NONE)
  _one_of(f"{path}.quantize", quantize, quantization.CHOICES)
  cached = any("part" in it for it in stage["teachers"].values())
  if impute and cached:
    raise UserError(
      f"{path} imputes missing modalities, and a part of its network is"
      " cached, which is computed without.",
      "Leave out `cache` of the network, or `impute`.",
    )
  if quantize and cached:
    raise UserError(
      f"{path} quantizes its networks, and a part of one is cached, which is"
      " computed without.",
      "Leave out `cache` of the network, or `quantize`.",
    )
  grids.check(stage)
  ranges.check(name, stage)


def _check_names(name: str, stage: Mapping[str, Any]) -> None:
  """Checks that networks, teachers and metrics have no reserved name."""
  reserved = [
    *sorted(RESERVED & {*stage["networks"], *stage["teachers"]}),
    *sorted({"loss"} & {*stage["metrics"]}),
  ]
  if reserved:
    raise UserError(
      f"In the stage '{name}', the name '{reserved[0]}' is reserved.",
      "Choose another name.",
    )


def _check_sources(
  config: Mapping[str, Any], name: str, stage: Mapping[str, Any]
) -> None:
  """Checks the stages that a stage starts or learns from."""
  before = config["order"][: list(config["order"]).index(name)]
  for source in dependencies.sources(stage):
    if source not in before:
      raise UserError(
        f"The stage '{name}' starts or learns from '{source}', which does not"
        " come before it.",
        exists=before,
        near=source,
      )
    if config["stages"][source]["grid"]:
      raise UserError(
        f"The stage '{name}' starts or learns from '{source}', which has a"
        " grid.",
        "Train the chosen point in a stage without a grid.",
      )


def _check_devices(
  config: Mapping[str, Any], name: str, stage: Mapping[str, Any]
) -> None:
  """Checks that the devices divide the batch, and that workers can start."""
  placement = placed.placement_of(config, name)
  placement.check(stage["batch_size"], stage["micro_batches"])
  if stage["data"]["feed"] == "stream" and stage["data"]["workers"]:
    processes.check()


def _check_networks(config: Mapping[str, Any], stage: Stage) -> None:
  """Checks what depends on the networks; traces all steps on shapes."""
  try:
    _check_vocabularies(stage)
    _check_quantized(stage)
    tokenizers.check(config, stage.name)
    _check_outside_teachers(stage)
    _check_imported_teachers(stage)
    initialization.check(config, stage)
    trace.trace(stage)
    trace.trace_buckets(stage)
  except UserError as error:
    raise UserError(f"Stage '{stage.name}': {error}") from error
  except (ArithmeticError, AttributeError, TypeError, ValueError) as error:
    # Raised by a network or a loss that cannot take its inputs.
    line = f"{error}".strip().partition("\n")[0]
    raise UserError(
      f"Stage '{stage.name}' does not trace: {type(error).__name__}: {line}",
      "Set KDJAX_TRACEBACK=1 to see where.",
    ) from error


def _check_vocabularies(stage: Stage) -> None:
  """Checks that networks have an embedding for every id of the data."""
  ids = getattr(stage.dataset, "ids", lambda **_: {})(**stage.data_options)
  objective = stage.objective
  for name, network in {**objective.networks, **objective.teachers}.items():
    vocabulary.check(name, quantization.plain(network), ids)


def _check_quantized(stage: Stage) -> None:
  """Checks that every network to quantize has a layer for it."""
  if stage.config.get("quantize", quantization.NONE) == quantization.NONE:
    return
  for name, variables in stage.network_shapes().items():
    if not quantization.ranges(variables):
      raise UserError(
        f"The network '{name}' has no layer that quantize="
        f"'{stage.config['quantize']}' rounds.",
        "Expected at least one nn.Dense, nn.DenseGeneral or nn.Conv.",
      )


def _check_outside_teachers(stage: Stage) -> None:
  """Checks that teachers outside of the step read no text of others in it."""
  for view, made in stage.objective.views.generated.items():
    for name in outputs.teachers_outside(stage):
      views = programs.teacher_views(stage, name)
      if view in views.generated and made.reads.network != name:
        raise UserError(
          f"The teacher '{name}' reads the view '{view}', which"
          f" '{made.reads.network}' writes in each step, and runs outside of"
          " the step.",
          f"Leave out `cache` and `separate` of '{name}'.",
        )


def _check_imported_teachers(stage: Stage) -> None:
  """Checks that imported outputs are read for training examples only."""
  for name, module in stage.objective.teachers.items():
    if not training_only(module):
      continue
    if stage.partners:
      raise UserError(
        f"Training mixes examples, and the teacher '{name}' has imported"
        " outputs, which do not exist for mixed examples.",
        "Remove the mixing transform, or use a teacher that runs.",
      )
    for key, family in stage.measured.items():
      if name in {address.network for address in addresses(family.reads)}:
        raise UserError(
          f"The metrics '{key}' read the teacher '{name}', which has imported"
          " outputs for training examples only.",
          "Remove these metrics, or use a teacher that runs.",
        )


def _one_of(key: str, value: str, known: Sequence[str]) -> None:
  if value not in known:
    raise UserError(f"{key} is '{value}'.", exists=known, near=value)


def _at_least(key: str, value: int, least: int) -> None:
  if value < least:
    raise UserError(f"{key} is {value}.", f"Expected at least {least}.")
