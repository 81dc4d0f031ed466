"""Early stopping: a stage whose best steps are long ago ends.

After an evaluation on validation, a stage stops where no seed (and point of a
grid) has had a better value of the metric `select` in the last `patience`
evaluations. This depends on the step and the best steps of the state alone, so
that a stage that is continued stops where one that was never killed does.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from kdjax.errors import UserError


def check(path: str, stage: Mapping[str, Any]) -> None:
  """Raises `UserError` for a negative patience, or one without evaluations.

  Args:
    path: of the stage in the config.
    stage: its config.
  """
  patience = stage.get("patience", 0)
  if patience < 0:
    raise UserError(f"{path}.patience is {patience}.", "Expected at least 0.")
  if patience and not stage["eval_every"]:
    raise UserError(
      f"{path}.patience is {patience}, and eval_every is 0: there is one"
      " evaluation, at the end.",
      "Set eval_every to the steps between evaluations.",
    )


def is_over(
  stage: Mapping[str, Any], step: int, best_steps: Sequence[int]
) -> bool:
  """Whether a stage stops after a step.

  Args:
    stage: its config.
    step: that is done, and evaluated if an evaluation is due.
    best_steps: of every seed and point of the grid; 0 is none.
  """
  patience, every = stage.get("patience", 0), stage["eval_every"]
  if not patience or step % every or step >= stage["steps"]:
    return False
  # Without any best, there was no evaluation by the metric `select`.
  since = step // every - int(max(best_steps)) // every
  return min(best_steps) > 0 and since >= patience


def facts(stage: Mapping[str, Any], step: int) -> dict[str, Any]:
  """What result.json says of a stop after a step; {} at the last step."""
  if step >= stage["steps"]:
    return {}
  return {"stopped": {"step": step, "patience": stage["patience"]}}


def sentence(stage: Mapping[str, Any], step: int) -> str:
  """What is said of a stop."""
  count = stage["patience"]
  return (
    f"stopped after step {step} of {stage['steps']}: no seed had a better"
    f" {stage['select']} in the last {count} evaluation{'s' * (count > 1)}"
  )
