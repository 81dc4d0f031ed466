"""Grids of hyperparameters: a table of their points for a report's page."""

from typing import Any

from kdjax.config import choices
from kdjax.report import columns
from kdjax.report.document import Grid, Section
from kdjax.report.numbers import mean_and_std
from kdjax.report.records import Record
from kdjax.report.theme import mean_and_error

# Keys of a point that are no test metrics.
NO_METRICS = ("at", "validation")

# Next to the point that validation chooses.
MARK = "(chosen)"

# A longer table is folded.
FOLDED_ROWS = 16


def sections(record: Record, results: dict[str, Any]) -> list[Section]:
  """A section for each stage with a grid.

  Args:
    record: the run.
    results: from `report.summarize`, of the same run.
  """
  made = []
  for stage, rows in results.get("grids", {}).items():
    knobs = record.config["stages"][stage]
    best = _best(rows, knobs["select_mode"])
    lines = ["Test metrics of each point, mean ± deviation over seeds."]
    if best is not None:
      extreme = "highest" if knobs["select_mode"] == "max" else "lowest"
      lines.append(
        f"Point {best + 1} is chosen: it has the {extreme} mean"
        f" {knobs['select']} on validation. The test split was not used for"
        " this choice."
      )
    table = _grid(rows, knobs["select"], best)
    made.append(
      Section(
        f"Grid of {stage}",
        sentences=lines,
        grids=[table],
        folded=len(rows) > FOLDED_ROWS,
      )
    )
  return made


def _best(rows: list[dict[str, Any]], mode: str) -> int | None:
  """The point with the best mean on validation.

  None if no value is finite, as in results from before they had any.
  """
  return choices.best_of(
    [choices.mean(row.get("validation", [])) for row in rows], mode
  )


def _grid(rows: list[dict[str, Any]], select: str, best: int | None) -> Grid:
  """A row for each point: its numbers, `select` on validation, test metrics."""
  measured = [
    {
      name: mean_and_std(values)
      for name, values in row.items()
      if name not in NO_METRICS
    }
    for row in rows
  ]
  metrics = columns.of_points(measured)
  known = all("validation" in row for row in rows)
  checked = [f"{select} on validation"] * known
  head = ["point", *rows[0]["at"], *checked, *metrics]
  lines = []
  for i, (row, numbers) in enumerate(zip(rows, measured, strict=True)):
    cells = [f"{i + 1} {MARK * (i == best)}".strip()]
    cells += [f"{value:g}" for value in row["at"].values()]
    if known:
      cells.append(mean_and_error(mean_and_std(row["validation"])))
    lines.append(cells + [mean_and_error(numbers.get(it)) for it in metrics])
  return Grid(head, lines)
