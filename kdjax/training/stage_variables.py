"""Frozen networks, and where their variables come from."""

import pathlib
from typing import Any

from kdjax.errors import UserError
from kdjax.training.checkpoints import SEPARATOR, Checkpoints, unflatten


def load(
  workdir: pathlib.Path,
  stage: str,
  network: str | None = None,
  *,
  kind: str = "networks",
  which: str,
  template: Any,
  seeds: int,
) -> list[Any]:
  """The variables that a stage trained, of every seed.

  Args:
    workdir: of the experiment.
    stage: that trained them.
    network: which of its networks (or heads); None is all of both.
    kind: "networks" or "heads".
    which: "best" by validation, or "last".
    template: such variables, or their shapes.
    seeds: how many there are.

  Raises:
    UserError: the stage has no checkpoint, or one of another architecture.
  """
  if which not in ("best", "last"):
    raise UserError(f"No variables '{which}'.", exists=("best", "last"))
  folder = workdir / "stages" / stage / "checkpoints"
  with Checkpoints(folder) as checkpoints:
    if checkpoints.latest() is None:
      raise UserError(
        f"The stage '{stage}' has no checkpoint in {workdir}.",
        f"Run it first, with --stage={stage}.",
      )
    part = f"{kind}.{network}." if network else ""
    if which == "best":
      stored = checkpoints.read(f"best.variables.{part}")
    else:
      # Where the stage averages its parameters, the average is what counts.
      params = checkpoints.read(f"average.{part}")
      params = params or checkpoints.read(f"params.{part}")
      collections = checkpoints.read(f"collections.{part}")
      stored = _join(params, collections, depth=0 if network else 2)
  return unflatten(template, stored, seeds, folder)


def _join(params, collections, depth: int) -> dict[str, Any]:
  """As `state.evaluated` names them: "params" comes after the network."""

  def named(key):
    words = key.split(SEPARATOR)
    return SEPARATOR.join([*words[:depth], "params", *words[depth:]])

  return {named(key): leaf for key, leaf in params.items()} | collections
