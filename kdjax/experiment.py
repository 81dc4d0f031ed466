"""An experiment: its stages in order, each skipped, continued or begun."""

import pathlib
from collections.abc import Mapping
from typing import Any

import jax

from kdjax import build, teachers, workdir
from kdjax.config import ConfigDict
from kdjax.devices import Placement
from kdjax.errors import UserError
from kdjax.loop import Loop
from kdjax.stage import Stage
from kdjax.state import Fixed


def run(
  config: ConfigDict,
  folder: str | pathlib.Path,
  *,
  stage: str | None = None,
  quiet: bool = False,
) -> dict[str, Any]:
  """Runs the stages of an experiment and writes its report.

  The same call continues a run that was cut off; a finished stage is skipped.

  Args:
    config: of the experiment, from `get_config()`.
    folder: where everything is written.
    stage: run this one alone.
    quiet: whether no progress is shown.

  Returns:
    The numbers of results.json.

  Raises:
    UserError: something that cannot work; nothing was written or lost.
  """
  from kdjax import report

  plain = workdir.resolve(config)
  names = [stage] if stage else list(plain["order"])
  check(plain, names)
  folder = pathlib.Path(folder)
  workdir.enter(folder, plain)
  for name in names:
    run_stage(plain, folder, name, quiet=quiet)
  if jax.process_index() == 0:
    return report.write(folder)
  return {}


def check(config: Mapping[str, Any], names: list[str]) -> None:
  """Traces the stages on shapes alone, and checks what the devices allow."""
  for name in names:
    stage = build.build(config, name)
    try:
      stage.trace()
    except UserError as error:
      raise UserError(f"Stage '{name}': {error}") from error
    place(config, stage).check(stage.config["batch_size"])


def run_stage(
  config: Mapping[str, Any],
  folder: pathlib.Path,
  name: str,
  *,
  quiet: bool = False,
) -> dict[str, Any]:
  """Trains one stage, unless it is finished."""
  result = workdir.finished(folder, name)
  stage = build.build(config, name)
  used = {
    one["stage"]: _taught_steps(folder, name, one["stage"])
    for one in stage.config["teachers"].values()
  }
  if result:
    for key, steps in result["teachers"].items():
      if used.get(key) != steps:
        raise UserError(
          f"The finished stage '{name}' learned from '{key}' after {steps} "
          f"steps, which has {used.get(key)} now.",
          f"To train it anew, delete {folder / 'stages' / name}.",
        )
    if result["steps"] >= stage.config["steps"]:
      if not quiet:
        print(f"{name}: finished, {result['steps']} steps")
      return result
  placement = place(config, stage)
  seeds = seeds_of(config)
  fixed = fixed_of(stage, folder, seeds)
  given = _given(stage, folder, seeds)
  stage = build.build(config, name, placement.axis_name)
  loop = Loop(stage, placement, folder, seeds, fixed, given, quiet=quiet)
  return loop.run(taught=used)


def restore(
  folder: str | pathlib.Path,
  stage: str,
  *,
  network: str = "student",
  seed: int | None = None,
  which: str = "best",
) -> tuple[Any, Any]:
  """A trained network, ready to call.

    model, variables = kdjax.restore("runs/digits", "distilled")
    outputs = model.apply(variables, {"image": image}, train=False)

  Args:
    folder: of the experiment.
    stage: that trained it.
    network: which of its networks.
    seed: of those of the run; the first unless given.
    which: "best" by validation, or "last".

  Returns:
    The Flax module, and its variables.
  """
  folder = pathlib.Path(folder)
  config = workdir.read_config(folder)
  seeds = seeds_of(config)
  seed = seeds[0] if seed is None else seed
  if seed not in seeds:
    raise UserError(f"No seed {seed} in {folder}.", exists=map(str, seeds))
  built = build.build(config, stage)
  known = built.objective.networks
  if network not in known:
    raise UserError(f"No network '{network}'.", exists=known, near=network)
  variables = teachers.load(
    folder,
    stage,
    network,
    which=which,
    template=_shapes(built, _fixed_shapes(built))[network],
    seeds=len(seeds),
  )
  return known[network], variables[seeds.index(seed)]


def place(config: Mapping[str, Any], stage: Stage) -> Placement:
  """The placement that a config asks for."""
  paired = {
    name: teacher["paired"]
    for name, teacher in stage.config["teachers"].items()
  }
  return Placement(
    config["placement"], config["seeds"], config["seed_axis"], paired
  )


def fixed_of(
  stage: Stage, folder: pathlib.Path, seeds: list[int]
) -> list[Fixed]:
  """What each seed's steps read: its teachers, trained before."""
  shapes = stage.teacher_shapes()
  taught: list[dict[str, Any]] = [{} for _ in seeds]
  for name, teacher in stage.config["teachers"].items():
    loaded = teachers.load(
      folder,
      teacher["stage"],
      teacher["network"],
      which=teacher["which"],
      template=shapes[name],
      seeds=len(seeds),
    )
    for place, own in enumerate(loaded):
      taught[place][name] = own if teacher["paired"] else loaded[0]
  return [stage.fixed(one) for one in taught]


def seeds_of(config: Mapping[str, Any]) -> list[int]:
  """The seeds of a run."""
  return [config["seed"] + place for place in range(config["seeds"])]


def _given(
  stage: Stage, folder: pathlib.Path, seeds: list[int]
) -> list[dict[str, Any]]:
  """For each seed, the networks that start from another stage's."""
  given: list[dict[str, Any]] = [{} for _ in seeds]
  shapes = _shapes(stage, _fixed_shapes(stage))
  for name, network in stage.config["networks"].items():
    if network["init_from"]:
      loaded = teachers.load(
        folder,
        network["init_from"],
        name,
        which="best",
        template=shapes[name],
        seeds=len(seeds),
      )
      for place, own in enumerate(loaded):
        given[place][name] = own
  return given


def _fixed_shapes(stage: Stage) -> Fixed:
  return jax.eval_shape(stage.fixed, stage.teacher_shapes())


def _shapes(stage: Stage, fixed: Fixed) -> dict[str, Any]:
  """The variables of every trained network, as shapes."""
  state = jax.eval_shape(stage.init, 0, fixed)
  return state.best.variables["networks"]


def _taught_steps(folder: pathlib.Path, name: str, by: str) -> int:
  """The steps of a finished stage that another one learns from."""
  result = workdir.finished(folder, by)
  if result is None:
    raise UserError(
      f"The stage '{name}' learns from '{by}', which is not finished.",
      f"Run that first: --stage={by}.",
    )
  return result["steps"]
