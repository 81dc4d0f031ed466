"""A grid of numbers: every seed of a stage once at each point of it.

Weights and float options enter the step as arrays, a value a seed. So a stage
can have many of them at once, beside each other like seeds: a point of the grid
is a value for some of them, and the whole grid is one compiled program. What a
stage trains is then a state for each seed and point, in this order:

  seed 0 point 0, seed 0 point 1, .., seed 1 point 0, seed 1 point 1, ..
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kdjax.errors import UserError
from kdjax.step.state import Fixed

Grid = Mapping[str, Sequence[float]]


def numbers_of(terms: Mapping[str, Mapping]) -> dict[str, dict[str, float]]:
  """Weights and float options: what enters the step as arrays."""
  return {
    name: {
      key: value for key, value in term.items() if isinstance(value, float)
    }
    for name, term in terms.items()
  }


def check(grid: Grid, terms: Mapping[str, Mapping]) -> None:
  """Raises `UserError` for a grid of what are no numbers, or not as many."""
  known = [
    f"{term}/{key}"
    for term, numbers in numbers_of(terms).items()
    for key in numbers
  ]
  for name in grid:
    if name not in known:
      raise UserError(
        f"The grid is of '{name}', which is no number of a term.",
        "Those are weights and options that are floats, as term/option.",
        exists=known,
        near=name,
      )
  sizes = {name: len(values) for name, values in grid.items()}
  if len({*sizes.values()}) > 1 or 0 in sizes.values():
    told = ", ".join(f"{name} {size}" for name, size in sizes.items())
    raise UserError(
      f"The grid has {told} values.",
      "A point has a value of each: expected as many of all, and some.",
    )


def count(grid: Grid) -> int:
  """How many points a grid has; without any, 1."""
  return len(next(iter(grid.values()))) if grid else 1


def points(grid: Grid) -> list[dict[str, float]]:
  """Every point: term/option -> value."""
  if not grid:
    return [{}]
  return [
    dict(zip(grid, map(float, values), strict=True))
    for values in zip(*grid.values(), strict=True)
  ]


def repeated(grid: Grid, each: Sequence[Any]) -> list[Any]:
  """What each seed has, once for every point."""
  return [one for one in each for _ in range(count(grid))]


def fixed(grid: Grid, each: Sequence[Fixed]) -> list[Fixed]:
  """What each seed's steps read, at every point with the numbers of it."""
  if not grid:
    return list(each)
  return [
    one.replace(numbers=_at(one.numbers, point))
    for one in each
    for point in points(grid)
  ]


def weights(
  grid: Grid, terms: Mapping[str, float], states: int
) -> list[dict[str, float]]:
  """The weight of every term, of each of the states.

  Args:
    grid: of the stage.
    terms: term -> its weight where the grid says none.
    states: how many there are, of all seeds.
  """
  own = [
    {name: point.get(f"{name}/weight", value) for name, value in terms.items()}
    for point in points(grid)
  ]
  return own * (states // len(own))


def by_seed(values: Sequence[float], seeds: int) -> list[float]:
  """The mean over the points, of each seed."""
  if len(values) == seeds:
    return [float(value) for value in values]
  return np.reshape(values, (seeds, -1)).mean(axis=1).tolist()


def table(
  grid: Grid, measured: Mapping[str, Sequence[float]], seeds: int
) -> list[dict[str, Any]]:
  """The points of a grid with what was measured there.

  Args:
    grid: of the stage.
    measured: metric -> a value for each state.
    seeds: how many there are.

  Returns:
    {"at": the point, metric: [a value a seed]} of each point; [] of no grid.
  """
  if not grid:
    return []
  rows = {
    name: np.reshape(values, (seeds, -1)).T.tolist()
    for name, values in measured.items()
  }
  return [
    {"at": point, **{name: values[place] for name, values in rows.items()}}
    for place, point in enumerate(points(grid))
  ]


def _at(numbers, point):
  """A seed's numbers, those of the point in their places."""
  made = {name: dict(own) for name, own in numbers.items()}
  for name, value in point.items():
    term, _, option = name.partition("/")
    made[term][option] = np.float32(value)
  return made
