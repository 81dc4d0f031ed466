"""An experiment: its stages in order, each skipped, continued or begun."""

import pathlib
from collections.abc import Mapping
from typing import Any

import jax

from kdjax import build, check, evaluation, rooms, teachers
from kdjax import workdir as workdirs
from kdjax.devices import Placement
from kdjax.errors import UserError
from kdjax.fields import ConfigDict
from kdjax.loop import Loop
from kdjax.stage import Stage
from kdjax.state import Fixed


def run(
  config: ConfigDict,
  workdir: str | pathlib.Path,
  *,
  stage: str | None = None,
  quiet: bool = False,
) -> dict[str, Any]:
  """Runs the stages of an experiment and writes its report.

  The same call continues a run that was cut off; a finished stage is skipped.

  Args:
    config: of the experiment, from `get_config()`.
    workdir: where everything is written.
    stage: run this one alone.
    quiet: whether no progress is shown.

  Returns:
    The numbers of results.json.

  Raises:
    UserError: something that cannot work, said before anything is written;
      or, later, a loss that is not finite: the last good checkpoint stays.
  """
  from kdjax import report

  plain = workdirs.resolve(config)
  names = [stage] if stage else list(plain["order"])
  check.plan(plain, names)
  workdir = pathlib.Path(workdir)
  workdirs.compare(workdir, plain)
  check.history(plain, workdir, names)
  workdirs.enter(workdir, plain)
  quiet = quiet or jax.process_index() > 0
  for name in names:
    run_stage(plain, workdir, name, quiet=quiet)
  if jax.process_index() == 0:
    return report.write(workdir)
  return {}


def run_stage(
  config: Mapping[str, Any],
  workdir: pathlib.Path,
  name: str,
  *,
  quiet: bool = False,
) -> dict[str, Any]:
  """Trains one stage, unless it is finished."""
  result = workdirs.finished(workdir, name)
  stage = build.build(config, name)
  if result and result["steps"] >= stage.config["steps"]:
    if not quiet:
      print(f"{name}: finished, {result['steps']} steps")
    return result
  taught = {
    source: check.steps_of(config, workdir, name, source)
    for source in check.sources(stage.config)
  }
  placement = place(config, stage)
  seeds = seeds_of(config)
  fixed = fixed_of(stage, workdir, seeds)
  given = _given(stage, workdir, seeds)
  stage = build.build(config, name, placement.axis_name)
  loop = Loop(stage, placement, workdir, seeds, fixed, given, quiet=quiet)
  return loop.run(taught=taught)


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
    metric -> the value of each seed: a float, or an array like `confusion`.
  """
  workdir = pathlib.Path(workdir)
  config = workdirs.read_config(workdir)
  seeds = seeds_of(config)
  built = build.build(config, stage)
  placement = place(config, built)
  placement.check(built.config["batch_size"])
  fixed = fixed_of(built, workdir, seeds)
  built = build.build(config, stage, placement.axis_name)
  shapes = _shapes(built, _fixed_shapes(built))
  variables = teachers.load(
    workdir, stage, which=which, template=shapes, seeds=len(seeds)
  )
  variables, fixed = placement.put(variables), placement.put_fixed(fixed)
  step = evaluation.compile_step(built, placement)
  measure = lambda source: evaluation.measure(
    built, placement, step, variables, fixed, source
  )
  if split == "train":
    # A seed draws what it trains on: which labels, for one.
    results = [
      measure(built.load(split, seed))[place]
      for place, seed in enumerate(seeds)
    ]
  else:
    results = measure(built.load(split))
  return {name: [one[name] for one in results] for name in results[0]}


def restore(
  workdir: str | pathlib.Path,
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
    workdir: of the experiment.
    stage: that trained it.
    network: which of its networks.
    seed: of those of the run; the first unless given.
    which: "best" by validation, or "last".

  Returns:
    The Flax module, and its variables. A student that predicts through a head
    that it keeps (SimKD) comes with it, and is called in the same way.
  """
  workdir = pathlib.Path(workdir)
  config = workdirs.read_config(workdir)
  seeds = seeds_of(config)
  seed = seeds[0] if seed is None else seed
  if seed not in seeds:
    raise UserError(f"No seed {seed} in {workdir}.", exists=map(str, seeds))
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
  shapes = _shapes(built, _fixed_shapes(built))["networks"][network]
  variables = teachers.load(
    workdir, stage, network, which=which, template=shapes, seeds=len(seeds)
  )
  return known[network], variables[seeds.index(seed)]


def _keeps(config: Mapping[str, Any], stage: str) -> bool:
  """Whether a head of a stage stays with its student."""
  terms = config["stages"].get(stage, {}).get("terms", {})
  return any(
    getattr(rooms.find("heads", head["name"]), "keep", False)
    for term in terms.values()
    for head in term["heads"].values()
    if "name" in head
  )


def _through(config, workdir, stage, seeds, place, which):
  """A student and the head that it predicts through, of one seed."""
  built = build.build(config, stage)
  fixed = fixed_of(built, workdir, seeds)
  shapes = _shapes(built, _fixed_shapes(built))
  loaded = teachers.load(
    workdir, stage, which=which, template=shapes, seeds=len(seeds)
  )
  variables = {"stage": loaded[place], "fixed": fixed[place]}
  return evaluation.Predictor(built), variables


def place(config: Mapping[str, Any], stage: Stage) -> Placement:
  """The placement that a config asks for."""
  paired = {
    name: teacher["paired"]
    for name, teacher in stage.config["teachers"].items()
    if "paired" in teacher
  }
  return Placement(
    config["placement"], config["seeds"], config["seed_axis"], paired
  )


def fixed_of(
  stage: Stage, workdir: pathlib.Path, seeds: list[int]
) -> list[Fixed]:
  """What each seed's steps read: its teachers, trained before."""
  shapes = stage.teacher_shapes()
  taught: list[dict[str, Any]] = [{} for _ in seeds]
  for name, shape in shapes.items():
    teacher = stage.config["teachers"][name]
    loaded = teachers.load(
      workdir,
      teacher["stage"],
      teacher["network"],
      which=teacher["which"],
      template=shape,
      seeds=len(seeds),
    )
    for place, own in enumerate(loaded):
      taught[place][name] = own if teacher["paired"] else loaded[0]
  return [stage.fixed(one) for one in taught]


def seeds_of(config: Mapping[str, Any]) -> list[int]:
  """The seeds of a run."""
  return [config["seed"] + place for place in range(config["seeds"])]


def _given(
  stage: Stage, workdir: pathlib.Path, seeds: list[int]
) -> list[dict[str, Any]]:
  """For each seed, the networks and heads that start from another stage's."""
  sources = {
    ("networks", name): network["init_from"]
    for name, network in stage.config["networks"].items()
  }
  for term, spec in stage.config["terms"].items():
    for argument, head in spec["heads"].items():
      sources["heads", f"{term}:{argument}"] = head.get("init_from")
  given: list[dict[str, Any]] = [{"networks": {}, "heads": {}} for _ in seeds]
  shapes = _shapes(stage, _fixed_shapes(stage))
  for (kind, name), source in sources.items():
    if not source:
      continue
    # A network may be another of that stage: stage/network.
    source, _, other = source.partition("/")
    loaded = teachers.load(
      workdir,
      source,
      other or name,
      kind=kind,
      which="best",
      template=shapes[kind][name],
      seeds=len(seeds),
    )
    for place, own in enumerate(loaded):
      given[place][kind][name] = own
  return given


def _fixed_shapes(stage: Stage) -> Fixed:
  return jax.eval_shape(stage.fixed, stage.teacher_shapes())


def _shapes(stage: Stage, fixed: Fixed) -> dict[str, Any]:
  """The variables of every trained network and head, as shapes."""
  return jax.eval_shape(stage.init, 0, fixed).best.variables
