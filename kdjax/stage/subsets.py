"""The subsets of modalities with which a stage's student is evaluated."""

import dataclasses
from collections.abc import Callable

from kdjax.errors import UserError
from kdjax.stage.stage import Stage
from kdjax.step import subsets
from kdjax.step.addresses import needs_of
from kdjax.step.step import make_eval_step
from kdjax.step.subsets import Subset

STUDENT = "student"

# Between the modalities of a subset's name.
JOIN = "+"


def measurable(stage: Stage) -> list[Subset]:
  """The subsets of the stage's `subsets` with which its student predicts.

  A subset has at least one modality that the student reads and, if missing ones
  are not imputed, all that its logits need. () without such a config.

  Raises:
    UserError: the data lacks a modality, or no subset is left.
  """
  if not stage.config.get("subsets", ()):
    return []
  what = _what(stage)
  modalities, stated = _read(stage)
  for modality in modalities:
    if modality not in stage.spec:
      raise UserError(
        f"{what} has the modality '{modality}', which the data lacks.",
        exists=(key for key in stage.spec if "/" not in key),
        near=modality,
      )
  module = stage.objective.networks[STUDENT]
  needs = {*needs_of(module, "logits")} & {*modalities}
  if stage.config.get("impute"):
    needs = set()
  reads = {*module.reads}
  found = [
    subset for subset in stated if needs <= {*subset} and reads & {*subset}
  ]
  if not found:
    raise UserError(
      f"{what}: the student reads none of {', '.join(modalities)}.",
      exists=(key for key in module.reads if "/" not in key),
    )
  return found


def name_of(subset: Subset) -> str:
  """A subset as text, "image+audio"."""
  return JOIN.join(subset)


def level_of(stage: Stage, subset: Subset) -> float:
  """The batch's `level` of a subset, in the step of `eval_step`."""
  return float(subsets.number_of(subset, _read(stage)[0]))


def eval_step(stage: Stage) -> Callable:
  """The evaluation step in which examples have the subset `level` alone."""
  views = dataclasses.replace(stage.objective.views, subsets=_read(stage)[0])
  objective = dataclasses.replace(stage.objective, views=views)
  return make_eval_step(objective, stage.measured)


def _read(stage: Stage) -> tuple[Subset, list[Subset]]:
  """The modalities of the stage's `subsets`, and the subsets."""
  return subsets.read(_what(stage), stage.config["subsets"])


def _what(stage: Stage) -> str:
  return f"`subsets` of the stage '{stage.name}'"
