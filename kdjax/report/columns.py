"""Which metrics have a column in the table of stages."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kdjax.report.records import Record

# Numbers of a stage that are no metrics -> the heads of their columns.
OF_STAGES = {
  "parameters": "parameters",
  "examples_per_second": "examples/s",
  "seconds": "seconds",
}

# Metrics without a column, unless `show` names them: those of the last
# variables, losses of the terms, and variants of a metric that has a column.
DETAIL = re.compile(
  r"_last$|^loss/|_(macro|micro|weighted)$|^balanced_|accuracy_top\d|^brier$"
  r"|_recall_\d+$|_median_rank$|^mse$|^hamming|^worst_group_nll$"
  r"|^nll_gap$"
)

# Those that follow the metric that selected, in this order: by the task, of
# which a stage has the metrics. Macro F1 follows where classes are unbalanced.
BY_TASK = (
  "accuracy",
  "nll",
  "mae",
  "rmse",
  *(f"{way}_recall_{k}" for way in ("query_to_key", "key_to_query")
    for k in (1, 5, 10)),
)  # fmt: skip
UNBALANCED = "f1_macro"

# Classes are unbalanced where the largest has so many times the test examples
# of the smallest.
RATIO = 2.0


def of_run(
  record: Record, stages: Mapping[str, Mapping[str, Any]]
) -> list[str]:
  """The metrics that have a column in the table of a run, in their order.

  First those that select the best variables, then those that `show` of the
  config names; without it, those of the task.

  Args:
    record: the run.
    stages: finished stage -> its numbers.
  """
  measured = _measured(stages.values())
  selected = [record.config["stages"][it]["select"] for it in record.order]
  shown = list(record.config.get("show", ()))
  if not shown:
    unbalanced = any(map(is_unbalanced, record.results.values()))
    shown = _by_task(measured, unbalanced=unbalanced)
  return [it for it in dict.fromkeys([*selected, *shown]) if it in measured]


def of_points(points: Sequence[Mapping[str, Any]]) -> list[str]:
  """The metrics that have a column in a table of grid points.

  Args:
    points: {metric: ..} of each.
  """
  return _by_task(_measured(points), unbalanced=False)


def is_unbalanced(result: Mapping[str, Any]) -> bool:
  """Whether the classes of the test examples have very different sizes.

  Args:
    result: the result.json of a stage.
  """
  found = (result.get("by_class") or {}).get("")
  if not found or UNBALANCED not in result["test"]["best"]:
    return False
  return any(
    max(counts) >= RATIO * max(min(counts), 1) for counts in found["support"]
  )


def _measured(stages: Iterable[Mapping[str, Any]]) -> list[str]:
  """The metrics of the stages."""
  names = dict.fromkeys(name for numbers in stages for name in numbers)
  return [name for name in names if name not in OF_STAGES]


def _by_task(measured: Sequence[str], *, unbalanced: bool) -> list[str]:
  first = [name for name in BY_TASK if name in measured]
  if unbalanced:
    first.append(UNBALANCED)
  rest = [name for name in measured if not DETAIL.search(name)]
  return list(dict.fromkeys([*first, *rest]))
