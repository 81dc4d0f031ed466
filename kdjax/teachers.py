"""Frozen networks, and where their variables come from."""

import pathlib
from typing import Any

from kdjax.checkpoints import Checkpoints, unflatten
from kdjax.errors import UserError


def load(
  workdir: pathlib.Path,
  stage: str,
  network: str,
  *,
  which: str,
  template: Any,
  seeds: int,
) -> list[Any]:
  """The variables that a stage trained, of every seed.

  Args:
    workdir: of the experiment.
    stage: that trained them.
    network: which of its networks.
    which: "best" by validation, or "last".
    template: the network's variables, or their shapes.
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
        f"Run it first: kdjax run --stage={stage}",
      )
    if which == "best":
      stored = checkpoints.read(f"best.variables.networks.{network}.")
    else:
      # Where the stage averages its parameters, the average is what counts.
      params = checkpoints.read(f"average.networks.{network}.")
      params = params or checkpoints.read(f"params.networks.{network}.")
      stored = {f"params.{key}": leaf for key, leaf in params.items()}
      stored |= checkpoints.read(f"collections.networks.{network}.")
  return unflatten(template, stored, seeds, folder)
