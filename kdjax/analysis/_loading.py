"""Loads a stage of a workdir, to be analysed."""

import pathlib
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from kdjax.analysis._subject import EXAMPLES, STUDENT, Subject
from kdjax.errors import UserError
from kdjax.training import initialization, placed, restore
from kdjax.training import workdir as workdirs


def load(
  workdir: str | pathlib.Path,
  stage: str,
  *,
  seed: int | None = None,
  which: str = "best",
  examples: int = EXAMPLES,
  accept: Sequence[str] = (),
) -> Subject:
  """A finished stage of a run, to be analysed.

  Args:
    workdir: of the experiment.
    stage: name of the stage.
    seed: one of the run's seeds; None is the first.
    which: "best" by validation, or "last".
    examples: how many examples of a split are read, at most.
    accept: ("sources",) allows code that differs from what it was trained with.

  Raises:
    UserError: the workdir has no such stage or seed, or `examples` is below 8.
  """
  if examples < 8:
    raise UserError(f"examples is {examples}.", "Expected 8 or more.")
  workdir = pathlib.Path(workdir)
  common = {"seed": seed, "which": which, "accept": accept}
  found = restore.state_of(workdir, stage, **common)
  built, config = found.stage, workdirs.read_config(workdir)
  if found.with_head:
    variables, fixed = found.variables["stage"], found.variables["fixed"]
    others = ()
  else:
    seeds = placed.seeds_of(config)
    every = initialization.load_fixed(
      built, seeds, config=config, workdir=workdir
    )
    fixed = every[seeds.index(found.seed)]
    others = tuple(it for it in built.objective.networks if it != STUDENT)
    networks = {
      name: restore.restore(workdir, stage, network=name, **common)[1]
      for name in others
    }
    networks[STUDENT] = found.variables
    variables = {"networks": networks, "heads": {}}
    fixed = fixed.replace(data=built.data_statistics(found.seed))
  teachers = [
    name
    for name in built.config["teachers"]
    if fixed.teachers.get(name) and "part" not in built.config["teachers"][name]
  ]
  return Subject(
    name=stage,
    seed=found.seed,
    stage=built,
    variables=variables,
    fixed=jax.tree.map(jnp.asarray, fixed),
    with_head=found.with_head,
    teachers=(*teachers, *others),
    examples=examples,
  )
