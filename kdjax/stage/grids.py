"""Grids of hyperparameters: a stage is trained once per seed and grid point.

Weights and float options enter the step as arrays, one value per seed. Grid
points are run like seeds, with other values of these arrays, so that the whole
grid is one compiled program. A stage then trains one state for each seed and
point, in this order:

  seed 0 point 0, seed 0 point 1, .., seed 1 point 0, seed 1 point 1, ..
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kdjax.errors import UserError
from kdjax.step import schedules
from kdjax.step.state import Fixed

Grid = Mapping[str, Sequence[float]]

# The one number of a grid that is of no term: the peak of the learning rate.
OPTIMIZER, RATE = "optimizer", "learning_rate"
LEARNING_RATE = f"{OPTIMIZER}/{RATE}"


def numbers_of(terms: Mapping[str, Mapping]) -> dict[str, dict[str, float]]:
  """Weights and float options of terms: they enter the step as arrays."""
  return {
    name: {
      key: value for key, value in term.items() if isinstance(value, float)
    }
    for name, term in terms.items()
  }


def peak(stage: Mapping[str, Any]) -> float:
  """The learning rate of a stage: its number, or that of its schedule."""
  rate = stage["optimizer"]["learning_rate"]
  return float(rate["value"] if isinstance(rate, Mapping) else rate)


def learning_rates(
  stage: Mapping[str, Any], step: int, fixed: Sequence[Fixed]
) -> list[float]:
  """The learning rate of a step, of every state.

  Args:
    stage: its config.
    step: from 0.
    fixed: numbers of each state, on the host.
  """
  rate = schedules.make(stage["optimizer"]["learning_rate"], stage["steps"])
  one = {RATE: 1.0}
  factors = [it.numbers.get(OPTIMIZER, one)[RATE] for it in fixed]
  return [float(rate(step) * factor) for factor in factors]


def numbers_of_stage(stage: Mapping[str, Any]) -> dict[str, dict[str, float]]:
  """The numbers of a stage that enter its step as arrays.

  Those of its terms; where the grid has the learning rate also that, as a
  factor of the config's: the updates are multiplied by it.
  """
  rate = {OPTIMIZER: {RATE: 1.0}} if LEARNING_RATE in stage["grid"] else {}
  return numbers_of(stage["terms"]) | rate


def check(stage: Mapping[str, Any]) -> None:
  """Checks the grid of a stage.

  Args:
    stage: its config.

  Raises:
    UserError: an unknown number, or lists of unequal length.
  """
  grid, terms = stage["grid"], stage["terms"]
  known = [
    f"{term}/{key}"
    for term, numbers in numbers_of(terms).items()
    for key in numbers
  ]
  if OPTIMIZER not in terms and peak(stage) > 0:
    known.append(LEARNING_RATE)
  for name in grid:
    if name not in known:
      raise UserError(
        f"The grid has '{name}', which is no number of a term.",
        "Expected term/weight, or term/option of an option that is a float,"
        f" or {LEARNING_RATE}.",
        exists=known,
        near=name,
      )
  sizes = {name: len(values) for name, values in grid.items()}
  if len({*sizes.values()}) > 1 or 0 in sizes.values():
    counts = ", ".join(f"{name} {size}" for name, size in sizes.items())
    raise UserError(
      f"The grid has {counts} values.",
      "Expected equally many values of each, at least one.",
    )


def count(grid: Grid) -> int:
  """The number of points of a grid; 1 for an empty grid."""
  return len(next(iter(grid.values()))) if grid else 1


def points(grid: Grid) -> list[dict[str, float]]:
  """The points of a grid: term/option -> value."""
  if not grid:
    return [{}]
  return [
    dict(zip(grid, map(float, values), strict=True))
    for values in zip(*grid.values(), strict=True)
  ]


def repeat_per_point(grid: Grid, per_seed: Sequence[Any]) -> list[Any]:
  """The items of the seeds, each repeated for every point."""
  return [item for item in per_seed for _ in range(count(grid))]


def fixed_per_point(
  stage: Mapping[str, Any], per_seed: Sequence[Fixed]
) -> list[Fixed]:
  """Teachers and numbers of each seed and point, with the point's numbers.

  Args:
    stage: its config.
    per_seed: those of each seed.
  """
  grid = stage["grid"]
  if not grid:
    return list(per_seed)
  return [
    fixed.replace(numbers=_numbers_at(stage, fixed.numbers, point))
    for fixed in per_seed
    for point in points(grid)
  ]


def term_weights(
  grid: Grid, terms: Mapping[str, float], states: int
) -> list[dict[str, float]]:
  """The weights of the terms in each state.

  Args:
    grid: of the stage.
    terms: term -> its weight where the grid sets none.
    states: number of states: seeds times points.
  """
  per_point = [
    {name: point.get(f"{name}/weight", value) for name, value in terms.items()}
    for point in points(grid)
  ]
  return per_point * (states // len(per_point))


def mean_per_seed(values: Sequence[float], seeds: int) -> list[float]:
  """The mean over the grid points of each seed."""
  if len(values) == seeds:
    return [float(value) for value in values]
  return np.reshape(values, (seeds, -1)).mean(axis=1).tolist()


def table(
  grid: Grid,
  measured: Mapping[str, Sequence[float]],
  validation: Sequence[float],
  seeds: int,
) -> list[dict[str, Any]]:
  """The points of a grid with their metrics.

  Args:
    grid: of the stage.
    measured: test metric -> a value for each state.
    validation: the best value of `select` of each state.
    seeds: number of seeds.

  Returns:
    {"at": the point, "validation": [a value per seed], test metric: [a value
    per seed]} of each point; [] without a grid.
  """
  if not grid:
    return []
  rows = {
    name: np.reshape(values, (seeds, -1)).T.tolist()
    for name, values in {**measured, "validation": validation}.items()
  }
  return [
    {"at": point, **{name: values[i] for name, values in rows.items()}}
    for i, point in enumerate(points(grid))
  ]


def _numbers_at(stage, numbers, point):
  """All numbers of a stage, with those of a point replaced."""
  changed = {term: dict(options) for term, options in numbers.items()}
  for name, value in point.items():
    term, _, option = name.partition("/")
    if name == LEARNING_RATE:
      value /= peak(stage)
    changed[term][option] = np.float32(value)
  return changed
