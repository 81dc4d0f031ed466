"""Loads the variables that a stage trained."""

import pathlib
from typing import Any

import numpy as np

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
  """Loads the variables of a stage's networks and heads, for every seed.

  Args:
    workdir: of the experiment.
    stage: that trained them.
    network: name of one network or head; None loads all of them.
    kind: "networks" or "heads", if `network` is set.
    which: "best" by validation, or "last".
    template: variables of one seed, or their shapes.
    seeds: number of seeds.

  Raises:
    UserError: the stage has no checkpoint, or the checkpoint has another
      architecture.
  """
  if which not in ("best", "last"):
    raise UserError(
      f"No variables '{which}'.", exists=("best", "last"), near=which
    )
  folder = workdir / "stages" / stage / "checkpoints"
  with Checkpoints(folder) as checkpoints:
    if checkpoints.latest() is None:
      raise UserError(
        f"The stage '{stage}' has no checkpoint in {workdir}.",
        f"Run it first, with --stage={stage}.",
      )
    part = f"{kind}.{network}." if network else ""
    if which == "best":
      _check_measured(stage, checkpoints)
      stored = checkpoints.read(f"best.variables.{part}")
    else:
      # If the stage averages its parameters, the average is evaluated.
      params = checkpoints.read(f"average.{part}")
      params = params or checkpoints.read(f"params.{part}")
      collections = checkpoints.read(f"collections.{part}")
      collections |= checkpoints.read(f"statistics.{part}")
      stored = _join(params, collections, depth=0 if network else 2)
  return unflatten(template, stored, seeds, folder)


def _check_measured(stage: str, checkpoints: Checkpoints) -> None:
  """Raises `UserError` if no variables of a stage were ever evaluated."""
  (steps,) = checkpoints.read("best.step").values()
  if np.all(steps > 0):
    return
  raise UserError(
    f"The stage '{stage}' has no best variables: it stopped after step"
    f" {checkpoints.latest()}, before its first evaluation.",
    f"Continue it with --stage={stage}, or read its last variables, with"
    ' --which=last or which="last".',
  )


def _join(params, collections, depth: int) -> dict[str, Any]:
  """Arrays by the names of `state.evaluated`: "params" follows the network."""

  def rename(key):
    words = key.split(SEPARATOR)
    return SEPARATOR.join([*words[:depth], "params", *words[depth:]])

  return {rename(key): leaf for key, leaf in params.items()} | collections
