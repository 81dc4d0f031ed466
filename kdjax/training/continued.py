"""What a changed config means for a stage that continues."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kdjax.stage.stage import Stage
from kdjax.step import state as states
from kdjax.step.state import State


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
  if before != steps:
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
