"""Results by class: precision, recall, F1 and support of every stage."""

from collections.abc import Mapping
from typing import Any

from kdjax.report.document import Grid, Section
from kdjax.report.numbers import mean_and_std
from kdjax.report.records import Record
from kdjax.report.theme import mean_and_error

TITLE = "Test results by class"

# The metrics of a class, in the order of their columns.
METRICS = ("precision", "recall", "f1")

# A longer table is folded.
FOLDED_ROWS = 16

Classes = dict[str, list[dict[str, Any]]]


def of_stages(record: Record) -> dict[str, Classes]:
  """The numbers by class of every stage that has them, see `of_stage`."""
  return {
    stage: of_stage(result["by_class"])
    for stage, result in record.results.items()
    if result.get("by_class")
  }


def of_stage(measured: Mapping[str, Any]) -> Classes:
  """The numbers by class of a stage.

  Args:
    measured: `by_class` of its result.json.

  Returns:
    start of the metrics' names -> [{class, support: [per seed], precision,
    recall, f1: {mean, std, seeds}}] in the order of the classes.
  """
  return {
    start: [
      {
        "class": name,
        "support": [of_seed[k] for of_seed in it["support"]],
        **{
          metric: mean_and_std([of_seed[k] for of_seed in it[metric]])
          for metric in METRICS
        },
      }
      for k, name in enumerate(it["classes"])
    ]
    for start, it in measured.items()
  }


def section(results: Mapping[str, Any]) -> Section | None:
  """The section of a page on classes: the F1 of every stage.

  Args:
    results: from `report.summarize`, of one workdir.
  """
  stages = results.get("by_class")
  if not stages:
    return None
  last = list(stages)[-1]
  tables = [_compared(stages, start) for start in stages[last]]
  return Section(
    TITLE,
    sentences=[
      f"F1 of every class, the lowest of `{last}` first. The section of each"
      " stage has precision, recall and F1; numbers.csv has them of each seed."
    ],
    grids=tables,
    folded=any(len(it.rows) > FOLDED_ROWS for it in tables),
  )


def grids(found: Classes) -> list[Grid]:
  """Tables of a stage: a row for every class.

  Args:
    found: from `of_stage`.
  """
  return [
    Grid(
      [f"{start}class", "support", *METRICS],
      [
        [
          it["class"],
          _support(it["support"]),
          *(mean_and_error(it[metric]) for metric in METRICS),
        ]
        for it in rows
      ],
    )
    for start, rows in found.items()
  ]


def _compared(stages: Mapping[str, Classes], start: str) -> Grid:
  """A row for every class, a column for the F1 of every stage."""
  known = {
    stage: {it["class"]: it for it in found[start]}
    for stage, found in stages.items()
    if start in found
  }
  last = list(known.values())[-1]
  worst_first = sorted(last, key=lambda name: last[name]["f1"]["mean"] or 0.0)
  rows = [
    [
      name,
      _support(last[name]["support"]),
      *(
        mean_and_error(of_stage[name]["f1"] if name in of_stage else None)
        for of_stage in known.values()
      ),
    ]
    for name in worst_first
  ]
  return Grid([f"{start}class", "support", *known], rows)


def _support(counts: list[float]) -> str:
  """The least and the most test examples of the seeds."""
  least, most = min(counts), max(counts)
  return f"{least:,.0f}" if least == most else f"{least:,.0f} to {most:,.0f}"
