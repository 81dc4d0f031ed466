"""What cannot work, found before it costs anything."""

import json
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from flax.errors import FlaxError

from kdjax.devices import processes
from kdjax.devices.placement import Placement
from kdjax.errors import UserError
from kdjax.feed import buckets, sampling
from kdjax.stage import build, grids, vocabulary
from kdjax.stage.stage import Stage
from kdjax.step import state as states
from kdjax.step.flow import addresses
from kdjax.step.step import training_only
from kdjax.step.views import EVALUATION, TRAIN
from kdjax.training import initialization, workdir

DTYPES = ("float32", "bfloat16")


def plan(config: Mapping[str, Any], names: Sequence[str]) -> None:
  """Checks values, and traces the stages on shapes alone.

  Args:
    config: of the experiment, as nested dicts.
    names: of the stages that are to run.

  Raises:
    UserError: a value, an address, a modality, a shape or the number of
      devices does not fit.
  """
  for key, least in (("seeds", 1), ("seed", 0)):
    _at_least(key, config[key], least)
  _one_of("dtype", config["dtype"], DTYPES)
  if not names:
    raise UserError("The experiment has no stages.")
  for name in config["order"]:
    if not re.fullmatch(r"[\w-]+", name):
      raise UserError(
        f"A stage is called '{name}'.",
        "Its name is a folder's: a-z, 0-9, _, -.",
      )
  for pair in config["gains"]:
    for name in pair:
      _one_of("stage to gain", name, config["order"])
  _views_are_read(config)
  for name in names:
    _teachers_are_known(config["stages"].get(name, {"teachers": {}}))
    stage = build.build(config, name)
    for key in ("steps", "batch_size", "log_every", "micro_batches"):
      _at_least(f"stages.{name}.{key}", stage.config[key], 1)
    for key in ("eval_every", "save_every", "steps_per_call"):
      _at_least(f"stages.{name}.{key}", stage.config[key], 0)
    _grids_can_be(config, stage)
    if not stage.config["terms"]:
      raise UserError(f"Stage '{name}' has no terms.", "It learns nothing.")
    _one_of("select_mode", stage.config["select_mode"], ("max", "min"))
    order = list(config["order"])
    for source in sources(stage.config):
      _one_of("stage before it", source, order[: order.index(name)])
    _names_are_free(stage.config, name)
    Placement(
      config["placement"], config["seeds"], config["seed_axis"], {}
    ).check(stage.config["batch_size"], stage.config["micro_batches"])
    _workers_can_start(stage)
    try:
      _ids_are_known(stage)
      _outputs_are_known(stage)
      initialization.check(config, stage)
      stage.trace()
      _texts_are_cut(stage)
    except UserError as error:
      raise UserError(f"Stage '{name}': {error}") from error
    except (ArithmeticError, AttributeError, TypeError, ValueError) as error:
      # Of a network's or a loss's own code, given what it cannot take.
      line = f"{error}".strip().partition("\n")[0]
      raise UserError(
        f"Stage '{name}' does not trace: {type(error).__name__}: {line}",
        "KDJAX_TRACEBACK=1 shows where.",
      ) from error


def _teachers_are_known(stage: Mapping[str, Any]) -> None:
  """Raises `UserError` for a knob of a teacher that has no such value."""
  for teacher in _of_stages(stage):
    _one_of("variables", teacher["which"], ("best", "last"))
  for teacher in stage["teachers"].values():
    _one_of("dtype", teacher.get("dtype", ""), ("", *DTYPES))
    _at_least("chunks", teacher.get("chunks", 1), 1)


def _grids_can_be(config: Mapping[str, Any], stage: Stage) -> None:
  """Raises `UserError` for a wrong grid, or a teacher that is many in one."""
  grids.check(stage.config["grid"], stage.config["terms"])
  for source in sources(stage.config):
    if config["stages"].get(source, {}).get("grid"):
      raise UserError(
        f"'{stage.name}' learns from '{source}', which has a grid.",
        "One network of a seed teaches: make a stage of that point.",
      )


def _names_are_free(stage: Mapping[str, Any], name: str) -> None:
  """Raises `UserError` for a name that stands for something else."""
  for taken, keys in (
    ("batch", [*stage["networks"], *stage["teachers"]]),
    ("data", [*stage["networks"], *stage["teachers"]]),
    ("loss", stage["metrics"]),
  ):
    if taken in keys:
      raise UserError(f"In '{name}', the name '{taken}' is taken.")


def _workers_can_start(stage: Stage) -> None:
  """Raises `UserError` where worker processes would run the script again."""
  data = stage.config["data"]
  if data["feed"] == "stream" and data["workers"]:
    processes.check()


def _ids_are_known(stage: Stage) -> None:
  """Raises `UserError` for a network that knows fewer ids than the data has."""
  ids = getattr(stage.dataset, "ids", lambda **_: {})(**stage.data_options)
  objective = stage.objective
  for name, network in {**objective.networks, **objective.teachers}.items():
    vocabulary.check(name, network, ids)


def _outputs_are_known(stage: Stage) -> None:
  """Raises `UserError` for what needs a teacher of which outputs alone are."""
  for name, module in stage.objective.teachers.items():
    if not training_only(module):
      continue
    if stage.partners:
      raise UserError(
        f"Training mixes examples, of which '{name}' has no outputs.",
        "Leave out what mixes, or run the teacher.",
      )
    for key, family in stage.measured.items():
      if name in {at.network for at in addresses(family.reads)}:
        raise UserError(
          f"The metrics '{key}' read '{name}', of which outputs are known for"
          " training examples alone.",
          "Leave them out, or run the teacher.",
        )


def _texts_are_cut(stage: Stage) -> None:
  """Raises `UserError` for buckets that are none, or that nothing fits."""
  sampling.check(stage.config["data"]["sampling"], stage.buckets)
  first = {modality: one[0] for modality, one in stage.buckets.items()}
  if not first:
    return
  told = ", ".join(f"'{key}' of {length}" for key, length in first.items())
  state, fixed, batch = stage.shapes()
  variables = states.evaluated(state)
  partners = {f"partner/{key}": batch[key] for key in stage.partners}
  marks = buckets.marked(first, stage.config["batch_size"])
  cut = lambda batch: jax.eval_shape(buckets.cut, {**batch, **marks})
  try:
    jax.eval_shape(stage.train_step, state, fixed, cut({**batch, **partners}))
    short = jax.eval_shape(stage.eval_step, variables, fixed, cut(batch))
  except (FlaxError, TypeError, UserError, ValueError) as error:
    line = f"{error}".strip().partition("\n")[0]
    raise UserError(
      f"It does not trace with {told} positions, the first bucket: {line}",
      "Something of it needs whole texts; leave out data.buckets.",
    ) from error
  whole = jax.eval_shape(stage.eval_step, variables, fixed, batch)
  sizes = lambda tree: [leaf.shape for leaf in jax.tree.leaves(tree)]
  for name, kept in whole.items():
    if sizes(kept) != sizes(short[name]):
      raise UserError(
        f"The metrics '{name}' keep something of every position, and of {told}"
        " positions less.",
        "Measure what is of one size, or leave out data.buckets.",
      )


def _views_are_read(config: Mapping[str, Any]) -> None:
  """Raises `UserError` for a view of the data that no stage reads."""
  said = json.dumps(config["stages"])
  for view in config["data"]["pipelines"]:
    if view not in (TRAIN, EVALUATION) and f"@{view}/" not in said:
      raise UserError(
        f"No term reads the view '{view}' of the data's pipelines, at"
        f" student@{view}/logits or the like.",
        exists=(TRAIN, EVALUATION),
        near=view,
      )


def history(
  config: Mapping[str, Any], folder: pathlib.Path, names: Sequence[str]
) -> None:
  """Checks what a workdir holds against what is to run in it.

  Raises:
    UserError: a stage lacks one that it learns from, or learned from one that
      is to go on learning.
  """
  for name in config["order"]:
    result = workdir.finished(folder, name)
    if result and result["steps"] > config["stages"][name]["steps"]:
      raise UserError(
        f"The stage '{name}' is finished, with {result['steps']} steps.",
        f"It cannot have {config['stages'][name]['steps']}.",
      )
    for source, steps in (result["teachers"] if result else {}).items():
      wanted = config["stages"][source]["steps"]
      if wanted > steps:
        raise UserError(
          f"The finished stage '{name}' learned from '{source}' after {steps} "
          f"steps, which is to have {wanted} now.",
          f"To train it anew, delete {folder / 'stages' / name}.",
        )
  for place, name in enumerate(names):
    for source in sources(config["stages"][name]):
      if source not in names[:place]:
        steps_of(config, folder, name, source)


def sources(stage: Mapping[str, Any]) -> list[str]:
  """The stages that a stage's config takes networks from."""
  found = [teacher["stage"] for teacher in _of_stages(stage)]
  found += [network["init_from"] for network in stage["networks"].values()]
  found += [
    head.get("init_from")
    for term in stage["terms"].values()
    for head in term["heads"].values()
  ]
  return list(dict.fromkeys(name.partition("/")[0] for name in found if name))


def _of_stages(stage: Mapping[str, Any]) -> list[Mapping[str, Any]]:
  """The teachers that an earlier stage trained."""
  return [
    teacher for teacher in stage["teachers"].values() if "stage" in teacher
  ]


def steps_of(
  config: Mapping[str, Any], folder: pathlib.Path, name: str, source: str
) -> int:
  """The steps of the finished stage `source`, which `name` learns from."""
  result = workdir.finished(folder, source)
  wanted = config["stages"][source]["steps"]
  if result is None or result["steps"] < wanted:
    raise UserError(
      f"The stage '{name}' learns from '{source}', which is not finished.",
      f"Run that first: --stage={source}.",
    )
  return result["steps"]


def _one_of(what: str, value: str, known: Sequence[str]) -> None:
  if value not in known:
    raise UserError(f"No {what} '{value}'.", exists=known, near=value)


def _at_least(name: str, value: int, least: int) -> None:
  if value < least:
    raise UserError(f"{name} is {value}.", f"Expected at least {least}.")
