"""The results of a stage by group of examples, for its result.json."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kdjax.stage import grids, groups
from kdjax.stage.stage import Stage

# The metrics that exist by group: those of the file's `result`.
MEASURED = ("accuracy", "nll")


def of(
  stage: Stage, results: Sequence[Mapping[str, Any]], seeds: int
) -> dict[str, Any]:
  """The selecting metric of each group on a split, or else accuracy.

  Args:
    stage: that was evaluated.
    results: the metrics of each seed and grid point.
    seeds: their number.

  Returns:
    {} where the stage has no metrics by group; else
    metric, mode: which it is, and whether "max" or "min" is better.
    groups: [{"name", "count": [examples per seed], "values": [the metric per
      seed]}], in the order of the data; 0 and NaN where a seed has none.
    worst, gap: [per seed], the worst group's metric, and how far the best is
      from it. With a grid, all values are means over its points.
  """
  family = stage.measured.get(groups.FAMILY)
  if family is None or f"group_{MEASURED[0]}" not in results[0]:
    return {}
  select = stage.config["select"].rpartition("/")[2]
  metric = select if select in MEASURED else MEASURED[0]
  mode = "min" if metric == "nll" else "max"
  names = groups.names(stage.dataset, stage.data_options)
  columns = [_columns(it, metric) for it in results]
  # Points of a grid are measured on the same examples.
  per_seed = columns[:: grids.count(stage.config["grid"])]
  mean = lambda values: grids.mean_per_seed(values, seeds)
  found = []
  for group in sorted(set().union(*per_seed)):
    absent = (0, math.nan)
    found.append(
      {
        "name": names[group] if group < len(names) else str(group),
        "count": [int(it.get(group, absent)[0]) for it in per_seed],
        "values": mean([float(it.get(group, absent)[1]) for it in columns]),
      }
    )
  values = [[value for _, value in it.values()] for it in columns]
  worst = np.min if mode == "max" else np.max
  over = lambda reduce: mean(
    [float(reduce(it)) if it else math.nan for it in values]
  )
  return {
    "metric": metric,
    "mode": mode,
    "groups": found,
    "worst": over(worst),
    "gap": over(np.ptp),
  }


def _columns(
  result: Mapping[str, Any], metric: str
) -> dict[int, tuple[int, float]]:
  """Group -> its number of examples and its metric."""
  keys = ("group", "group_count", f"group_{metric}")
  rows = zip(*(np.asarray(result[key]).tolist() for key in keys), strict=True)
  return {group: (count, value) for group, count, value in rows}
