"""What a changed config means for a stage that continues."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kdjax.errors import UserError
from kdjax.stage.stage import Stage
from kdjax.step import state as states
from kdjax.step.state import State
from kdjax.training import patience


def check_steps(stage: Stage, start: int) -> None:
  """Raises `UserError` for a checkpoint of more steps than the stage has."""
  if start > stage.config["steps"]:
    raise UserError(
      f"The checkpoint of '{stage.name}' is of step {start}, and the config has"
      f" {stage.config['steps']} steps.",
      "Set at least as many steps as the checkpoint.",
    )


def with_changes(
  stage: Stage,
  start: int,
  state: Sequence[State],
  facts: Mapping[str, Any],
  say: Callable[[str], None],
) -> tuple[list[State], bool]:
  """Says what a changed number of steps or selecting metric means.

  Args:
    stage: that continues.
    start: the step of its checkpoint.
    state: of every seed, on the host.
    facts: of the checkpoint.
    say: prints a line.

  Returns:
    The states; and whether their best variables are kept: another metric
    selects anew.
  """
  config = stage.config
  steps, before = config["steps"], facts.get("steps", config["steps"])
  best = [int(it.best.step) for it in state]
  if before != steps and not patience.is_over(config, start, best):
    say(
      f"goes on after step {start}, with {steps} steps in place of {before};"
      " from here on, its schedules are those of the new length"
    )
  chosen = [config["select"], config["select_mode"]]
  if facts.get("select", chosen) == chosen:
    return list(state), True
  say(
    f"selects by {' '.join(chosen)} in place of {' '.join(facts['select'])};"
    " the best steps until now are dropped"
  )
  return [states.without_best(it, stage.maximise) for it in state], False
