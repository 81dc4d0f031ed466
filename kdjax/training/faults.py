"""Numbers of a run that are not finite, as errors that say which."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from kdjax.errors import UserError
from kdjax.stage.stage import Stage
from kdjax.step.state import Fault
from kdjax.training.checkpoints import Checkpoints

# Where the first step is not finite and no cause is found.
UNEXPLAINED = (
  "Its inputs, labels, weights, options and the values of its terms are finite:"
  " look at the gradients of the networks."
)


class DivergedError(UserError):
  """A loss, gradient or selecting metric is not finite."""


def check(
  stage: str,
  seeds: Sequence[int],
  faults: Sequence[Fault],
  checkpoints: Checkpoints,
  explain: Callable[[int], str],
) -> None:
  """Raises `DivergedError` for the first fault of all seeds.

  Args:
    stage: its name.
    seeds: of the faults.
    faults: of every state, on the host.
    checkpoints: of the stage.
    explain: the position of a state -> why its first step is not finite.
  """
  recorded = [
    (int(fault.step), seed, position)
    for position, (seed, fault) in enumerate(zip(seeds, faults, strict=True))
    if fault.step >= 0
  ]
  if not recorded:
    return
  step, seed, position = min(recorded)
  values = faults[position].terms
  terms = ", ".join(f"{name} {value}" for name, value in values.items())
  problem = (
    f"Stage '{stage}': the loss or its gradient is not finite at step {step} of"
    f" seed {seed}. Its terms: {terms}."
  )
  if step == 1:
    # Nothing was trained yet: no learning rate has had an effect.
    raise DivergedError(problem, explain(position) or UNEXPLAINED)
  checkpoints.wait()
  last = checkpoints.latest()
  checkpoint = (
    f"The last good checkpoint of step {last} stays."
    if last
    else "No checkpoint was written yet."
  )
  raise DivergedError(
    problem,
    f"{checkpoint} In another workdir, try a lower learning rate, a smaller "
    "weight, or optimizer.clip_norm.",
  )


def check_selection(
  stage: Stage,
  step: int,
  seeds: Sequence[int],
  results: Sequence[Mapping[str, Any]],
) -> None:
  """Raises `DivergedError` if the first value of `select` is not a number.

  Args:
    stage: that is trained.
    step: after which it is evaluated.
    seeds: of the states.
    results: the metrics of every state on validation.
  """
  select = stage.config["select"]
  for seed, metrics in zip(seeds, results, strict=True):
    if np.isfinite(metrics[select]):
      continue
    finite = [
      name
      for name, value in metrics.items()
      if np.ndim(value) == 0 and np.isfinite(value)
    ]
    raise DivergedError(
      f"Stage '{stage.name}': '{select}' on validation is {metrics[select]} at"
      f" the first evaluation, after step {step}, for seed {seed}, so that no"
      " step could be its best.",
      "Select by another metric, also in this workdir:"
      f" --config.stages.{stage.name}.select=..",
      exists=finite,
      near=select,
    )
