"""The plan of a study: what is searched, by which sampler and pruner."""

import itertools
import random
from typing import Any, NamedTuple

from kdjax.config import spaces
from kdjax.errors import UserError

SAMPLERS = ("tpe", "random", "grid")
PRUNERS = ("hyperband", "none")

# Trials that are drawn at random before TPE: Hyperband divides trials into
# brackets, and TPE learns from those of the same one.
FIRST = 5


class Plan(NamedTuple):
  """What a study searches, and how.

  Attributes:
    space: key -> values.
    default: key -> the value that the config has; the first trial.
    mode: "max" or "min" of the metric.
    evaluations: on validation, in a trial.
    trials: how many are to be finished.
    sampler: one of `SAMPLERS`.
    pruner: one of `PRUNERS`.
    points: of a grid, per key.
    seed: of the sampler.
    facts: what must be the same when the sweep is continued, as JSON has it.
  """

  space: spaces.Space
  default: dict[str, Any]
  mode: str
  evaluations: int
  trials: int
  sampler: str
  pruner: str
  points: int
  seed: int
  facts: dict[str, Any]


def sampler(plan: Plan, count: int) -> Any:
  """A sampler whose draws follow from the seed and the number of trials."""
  from optuna import samplers

  seed = plan.seed * 100_003 + count
  if plan.sampler == "tpe":
    return samplers.TPESampler(n_startup_trials=FIRST, seed=seed)
  return samplers.RandomSampler(seed=seed)


def pruner(plan: Plan) -> Any:
  """Hyperband over the evaluations of a trial, or none."""
  from optuna import pruners

  if plan.pruner == "none" or plan.evaluations < 2:
    return pruners.NopPruner()
  return pruners.HyperbandPruner(
    min_resource=1, max_resource=plan.evaluations, reduction_factor=3
  )


def suggest(trial: Any, key: str, values: spaces.Values) -> None:
  """Gives a trial a value of a key."""
  if values.choices:
    trial.suggest_categorical(key, values.choices)
  elif values.whole:
    trial.suggest_int(key, int(values.low), int(values.high))
  else:
    trial.suggest_float(key, values.low, values.high, log=values.log)


def grid(plan: Plan) -> list[dict[str, Any]]:
  """The default, and the points of a grid in a drawn order."""
  axes = [it.spread(plan.points) for it in plan.space.values()]
  found = [
    dict(zip(plan.space, point, strict=True))
    for point in itertools.product(*axes)
  ]
  random.Random(plan.seed).shuffle(found)
  found = [plan.default, *(it for it in found if it != plan.default)]
  if len(found) < plan.trials:
    raise UserError(
      f"The grid has {len(found)} points, the default among them, and --trials"
      f" is {plan.trials}.",
      f"Write --trials={len(found)}, or more --points of each key.",
    )
  return found[: plan.trials]
