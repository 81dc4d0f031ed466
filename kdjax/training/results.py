"""Test metrics and predictions of a finished stage."""

import functools
import io
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from kdjax.config import strict_json
from kdjax.config.files import write_atomically
from kdjax.devices.placement import Placement
from kdjax.stage import grids
from kdjax.stage.stage import Stage
from kdjax.step import state as states
from kdjax.step.state import Fixed, State
from kdjax.training import (
  class_results,
  evaluation,
  finished,
  group_results,
  provenance,
)
from kdjax.types import Source


class TrainedStage:
  """A stage after its last step.

  Args:
    stage: that was trained.
    placement: of the stage.
    seeds: of the run, each once.
    test: the split: [one for all seeds], or one for each seed and grid point;
      [] where nothing may read it.
    state: of every seed and grid point, placed.
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
    self.task = ""  # the name of the progress; none is shown without

  @functools.cached_property
  def best(self) -> list[states.Best]:
    """The best variables of each seed and point, as NumPy arrays."""
    return self.placement.fetch([group.best for group in self.state])

  def measure(
    self, fixed: Sequence[Fixed], *, quiet: bool = True
  ) -> dict[str, Any]:
    """The metrics for result.json: one value per seed, the mean over a grid.

    Args:
      fixed: teachers and numbers of each state, placed.
      quiet: whether no progress is shown.
    """
    select, grid = self.stage.config["select"], self.stage.config["grid"]
    count, value = len(self.seeds), [float(best.value) for best in self.best]
    self.task = "" if quiet else f"{self.stage.name}, test"
    tested, measured = self._on_test(fixed) if self.test else ({}, {})
    table = grids.table(grid, measured, value, count)
    return {
      **tested,
      **({"grid": table} if table else {}),
      "validation": {"best": {select: grids.mean_per_seed(value, count)}},
      "best_step": [int(best.step) for best in self.best][:: grids.count(grid)],
      "parameters": {
        name: sum(leaf.size for leaf in jax.tree.leaves(tree["params"]))
        for name, tree in self.stage.network_shapes().items()
      },
    }

  def _on_test(
    self, fixed: Sequence[Fixed]
  ) -> tuple[dict[str, Any], Mapping[str, list[float]]]:
    """What is measured on test: for result.json, and of every state."""
    count = len(self.seeds)
    split = evaluation.SplitEvaluator(self.stage, self.placement, self.test)
    split.task = self.task
    metrics, best = self._test(split, fixed)
    by_group = group_results.of(self.stage, best, count)
    by_class = class_results.of(self.stage, best, count)
    variables = [group.best.variables for group in self.state]
    robustness = split.robustness(variables, fixed)
    subsets = {
      subset: _per_seed(by_name, count)
      for subset, by_name in split.subsets(variables, fixed).items()
    }
    tested = {
      "test": {
        which: _per_seed(by_name, count) for which, by_name in metrics.items()
      },
      **({"by_group": by_group} if by_group else {}),
      **({"by_class": by_class} if by_class else {}),
      "robustness": robustness,
      **({"subsets": subsets} if subsets else {}),
    }
    return tested, metrics["best"]

  def variables_hash(self) -> str:
    """The hash of all variables that a later stage can read."""
    last = self.placement.fetch([states.evaluated(it) for it in self.state])
    best = [it.variables for it in self.best]
    return provenance.variables_hash([*best, *last])

  def write(
    self,
    result: Mapping[str, Any],
    fixed: Sequence[Fixed],
    folder: pathlib.Path,
  ) -> None:
    """Writes result.json, and predictions.npz where the stage keeps them.

    Args:
      result: of the stage.
      fixed: teachers and numbers of each state, on the host.
      folder: of the stage.
    """
    if self.stage.config["predictions"] and self.test:
      self.write_predictions(fixed, folder)
    text = strict_json.dumps(result, indent=2)
    write_atomically(folder / "result.json", text + "\n")
    if self.test:
      finished.record(self.stage, result, self.test[0], folder)

  def write_predictions(
    self, fixed: Sequence[Fixed], folder: pathlib.Path
  ) -> None:
    """Writes the best students' test predictions to predictions.npz.

    Args:
      fixed: teachers and numbers of each state, on the host.
      folder: of the stage.
    """
    grid = self.stage.config["grid"]
    if grid or len(self.test) > 1:
      return  # the file holds one student per seed, on the same examples
    variables = [best.variables for best in self.best]
    columns = evaluation.predict(
      self.stage, variables, fixed, self.test[0], self.task
    )
    if columns:
      file = io.BytesIO()
      np.savez(file, **columns)
      write_atomically(folder / "predictions.npz", file.getvalue())

  def _test(
    self, split: evaluation.SplitEvaluator, fixed: Sequence[Fixed]
  ) -> tuple[dict[str, Mapping[str, list[float]]], list[dict[str, Any]]]:
    """The metrics of the best and of the last variables.

    Returns:
      {"best" or "last": {metric: a value per seed}}, and all metrics of the
      best variables of each seed.
    """
    measure = lambda variables: split.measure(variables, fixed)
    last = measure([states.evaluated(group) for group in self.state])
    best, steps = last, self.stage.config["steps"]
    if any(int(best.step) != steps for best in self.best):
      best = measure([group.best.variables for group in self.state])
    metrics = {"best": best, "last": last}
    return {
      which: evaluation.by_metric(it) for which, it in metrics.items()
    }, best


def _per_seed(
  by_name: Mapping[str, Sequence[float]], seeds: int
) -> dict[str, list[float]]:
  """The metrics of each seed, the mean over a grid."""
  return {
    name: grids.mean_per_seed(values, seeds) for name, values in by_name.items()
  }


def broken(sources: Sequence[Source], before: Sequence[str]) -> list[str]:
  """The skipped records of the data: file, line, column and reason.

  Args:
    sources: that were read.
    before: records that an earlier run skipped.
  """
  skipped = [
    str(fault)
    for source in sources
    for fault in getattr(source, "records", list)()
  ]
  return list(dict.fromkeys([*before, *skipped]))
