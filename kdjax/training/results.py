"""What a finished stage is worth on the test split."""

import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from kdjax.devices.placement import Placement
from kdjax.errors import UserError
from kdjax.stage import grids
from kdjax.stage.stage import Stage
from kdjax.step import state as states
from kdjax.step.state import Fixed, State
from kdjax.training import evaluation
from kdjax.types import Source


class DivergedError(UserError):
  """A loss or gradient that is not finite."""


class Finished:
  """A stage after its last step.

  Args:
    stage: which was trained.
    placement: where.
    seeds: of the run, each once.
    test: the split, one for all seeds or one each.
    state: placed, of every seed and point of a grid.
  """

  def __init__(
    self,
    stage: Stage,
    placement: Placement,
    seeds: Sequence[int],
    test: Sequence[Source],
    state: Sequence[State],
  ):
    self.stage, self.placement, self.seeds = stage, placement, list(seeds)
    self.test, self.state = list(test), list(state)

  @functools.cached_property
  def best(self) -> list[states.Best]:
    """The best of each seed and point, as numpy arrays."""
    return self.placement.fetch([group.best for group in self.state])

  def measured(self, fixed: Sequence[Fixed]) -> dict[str, Any]:
    """What is measured, a number a seed: the mean over the points of a grid.

    Args:
      fixed: placed.

    Raises:
      DivergedError: the selecting metric was never a number.
    """
    select, grid = self.stage.config["select"], self.stage.config["grid"]
    count = len(self.seeds)
    for seed, one in zip(
      grids.repeated(grid, self.seeds), self.best, strict=True
    ):
      if one.step == 0:
        raise DivergedError(
          f"Stage '{self.stage.name}': '{select}' on validation was never a "
          f"number for seed {seed}, so no step is its best.",
          "Select by another metric, in another workdir.",
        )
    split = evaluation.Split(self.stage, self.placement, self.test)
    measured = self._test(split, fixed)
    variables = [group.best.variables for group in self.state]
    robustness = split.robustness(variables, fixed)
    value = [float(one.value) for one in self.best]
    table = grids.table(grid, measured["best"], count)
    return {
      "test": {
        which: {
          name: grids.by_seed(values, count) for name, values in found.items()
        }
        for which, found in measured.items()
      },
      **({"grid": table} if table else {}),
      "validation": {"best": {select: grids.by_seed(value, count)}},
      "robustness": robustness,
      "best_step": [int(one.step) for one in self.best][:: grids.count(grid)],
      "parameters": {
        name: sum(leaf.size for leaf in jax.tree.leaves(tree["params"]))
        for name, tree in self.best[0].variables["networks"].items()
      },
    }

  def predict(self, fixed: Sequence[Fixed], folder: pathlib.Path) -> None:
    """Writes what the best student of each seed says of the test examples.

    Args:
      fixed: of each seed and point.
      folder: of the stage.
    """
    grid = self.stage.config["grid"]
    if grid or len(self.test) > 1:
      return  # there is one table of predictions a seed, of the same examples
    chosen = [one.variables for one in self.best]
    found = evaluation.predict(self.stage, chosen, fixed, self.test[0])
    if found:
      np.savez(folder / "predictions.npz", **found)

  def _test(
    self, split: evaluation.Split, fixed: Sequence[Fixed]
  ) -> dict[str, Mapping[str, list[float]]]:
    """The metrics of the best and of the last variables."""
    measure = lambda variables: evaluation.by_metric(
      split.measure(variables, fixed)
    )
    last = [states.evaluated(group) for group in self.state]
    if all(int(one.step) == self.stage.config["steps"] for one in self.best):
      found = measure(last)  # these are the best
      return {"best": found, "last": found}
    best = [group.best.variables for group in self.state]
    return {"best": measure(best), "last": measure(last)}
