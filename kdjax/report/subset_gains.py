"""Gains of one stage over another on each subset of modalities."""

from typing import Any

from kdjax.report import intervals, paired
from kdjax.report.document import Grid
from kdjax.report.records import Record

# Between the modalities of a subset, in the results and on the page.
JOIN, AND = "+", " + "

CAPTION = (
  "A gain on a subset is a difference paired by seed, with the"
  f" {intervals.COVERAGE:.0%} interval of Student's t."
)

Gains = dict[str, dict[str, dict[str, Any]]]


def of_run(record: Record) -> Gains:
  """The pairs of the config's `gains` on each subset of both stages.

  Args:
    record: the run.

  Returns:
    {"better - worse": {subset: {metric, mode, mean, std, seeds, interval}}}, as
    of differences paired by seed; pairs without a common subset are absent. The
    interval is [low, high], see `intervals`.
  """
  found = {}
  for better, worse in record.config["gains"]:
    of_pair = _of_pair(record, better, worse)
    if of_pair:
      found[f"{better} - {worse}"] = of_pair
  return found


def grid(gains: Gains, names: list[str]) -> Grid:
  """A row for each pair of stages, a column for each subset.

  Args:
    gains: from `of_run`, at least one.
    names: of the subsets, in their order.
  """
  metrics = {it["metric"] for of in gains.values() for it in of.values()}
  title = f"{', '.join(sorted(metrics))}: better - worse"
  rows = [
    [pair, *(_cell(by_subset.get(name)) for name in names)]
    for pair, by_subset in gains.items()
  ]
  return Grid([title, *(name.replace(JOIN, AND) for name in names)], rows)


def _of_pair(record: Record, better: str, worse: str) -> dict[str, Any]:
  """Subset -> the gain on it."""
  results = [record.results.get(stage, {}) for stage in (better, worse)]
  left, right = (it.get("subsets") or {} for it in results)
  knobs = record.config["stages"][better]
  metric, mode = knobs["select"], knobs["select_mode"]
  found = {}
  for subset in (it for it in left if it in right):
    values = [of[subset].get(metric, []) for of in (left, right)]
    difference = paired.difference(results, values)
    if difference is not None:
      difference.pop("p")
      found[subset] = {"metric": metric, "mode": mode, **difference}
  return found


def _cell(gain: dict[str, Any] | None) -> str:
  """A mean and its interval, as text."""
  if gain is None:
    return "-"
  if gain["mean"] is None:
    return "not finite"
  mean = f"{gain['mean']:+.4f}"
  if gain["interval"] is None:
    return mean
  low, high = gain["interval"]
  return f"{mean} [{low:+.4f}, {high:+.4f}]"
