"""How long an experiment takes: some steps of each stage, timed."""

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from kdjax.bench.runner import Runner
from kdjax.bench.trainer import Trainer

# Seconds in which the steps of a stage are timed, after its compilation.
TIMED = 0.5
# A forward pass is a third of a step, whose backward pass takes the rest.
FORWARD = 1 / 3


class Cost(NamedTuple):
  """What a stage takes on this machine.

  Attributes:
    start: seconds until its first step is done, compilation included.
    step: seconds of a step of all seeds.
    steps: of the stage.
    evaluations: seconds of all evaluations.
  """

  start: float
  step: float
  steps: int
  evaluations: float

  @property
  def seconds(self) -> float:
    """Of the whole stage."""
    return self.start + self.step * self.steps + self.evaluations


def measured(config: Mapping[str, Any], sizes: Mapping[str, int]) -> dict:
  """Compiles and times the steps of each stage.

  Teachers have initial variables; nothing is trained or stored.

  Args:
    config: of the experiment, as nested dicts.
    sizes: split -> number of its examples.

  Returns:
    stage -> its Cost.
  """
  alone = {**config, "seeds": 1}
  costs = {}
  for name in config["order"]:
    started = time.perf_counter()
    trainer = Trainer(alone, name)
    runner = Runner(trainer, trainer.feed)
    start = time.perf_counter() - started
    step = runner.step_seconds(TIMED) * config["seeds"]
    runner.close()
    stage = config["stages"][name]
    count = stage["steps"] // max(stage["eval_every"], 1) + 1
    batches = -(-(sizes["validation"] + sizes["test"]) // stage["batch_size"])
    evaluations = FORWARD * step * batches * count
    costs[name] = Cost(start, step, stage["steps"], evaluations)
  return costs


def sentence(costs: Mapping[str, Cost], where: str, seeds: int) -> str:
  """What a run takes, and how that is known."""
  total = sum(cost.seconds for cost in costs.values())
  steps = ", ".join(
    f"{name} {1e3 * cost.step / seeds:.3g} ms" for name, cost in costs.items()
  )
  return (
    f"It takes about {duration(total)} on {where}. Measured: some steps of each"
    f" stage ({steps}, for one of {seeds} seeds) and its compilation."
    " Evaluations are estimated as a third of a step a batch."
  )


def duration(seconds: float) -> str:
  """Seconds as a person says them."""
  if seconds < 90:
    return f"{seconds:.0f} s"
  if seconds < 5400:
    return f"{seconds / 60:.0f} min"
  return f"{seconds / 3600:.1f} h"
