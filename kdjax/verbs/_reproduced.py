"""Tables of published numbers and ours, in a terminal and in Markdown."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from rich.table import Table

WIDTH = 150

COLUMNS = ("row", "published", "ours", "difference", "tolerance", "verdict")
WHERE = ("seeds", "device", "seconds", "commit")

HEADING = """# Published results, reproduced

The output of `kdjax reproduce`: published experiments through the configs of
[`configs/papers`](configs/papers), with our losses, methods and loop. A number
is the mean over seeds with its deviation, on the test split, after the last
step; "seconds" is the training of the stage that the row is of, all its seeds
and all points of its grid, on the machine that is named. A row that misses its
tolerance stays. A commit with a + had changes that were not committed yet.
"""


def shown(table: Any, rows: Sequence[Any]) -> Table:
  """A table for a terminal."""
  made = Table(title=f"{table.name}: {table.title}", title_justify="left")
  for place, column in enumerate((*COLUMNS, *WHERE)):
    made.add_column(column, justify="right" if 0 < place < 5 else "left")
  for row in rows:
    made.add_row(*_cells(row))
  return made


def page(every: Iterable[tuple[Any, Sequence[Any]]]) -> str:
  """All tables in Markdown."""
  parts = [HEADING]
  for table, rows in every:
    head = [*COLUMNS, *WHERE]
    lines = [
      f"## {table.name}",
      "",
      table.title,
      "",
      f"`kdjax reproduce {table.name}`: {_summary(rows)}",
      "",
      f"| {' | '.join(head)} |",
      f"| {' | '.join([':--', *['--:'] * 4, *[':--'] * (len(head) - 5)])} |",
      *(f"| {' | '.join(_cells(row))} |" for row in rows),
      "",
    ]
    parts.append("\n".join(lines))
  return "\n".join(parts)


def _summary(rows: Sequence[Any]) -> str:
  """How many rows are as published."""
  known = [row for row in rows if row.ours]
  if not known:
    return "not measured here yet."
  missing = len(rows) - len(known)
  more = f", {missing} not measured" if missing else ""
  compared = [row for row in known if row.difference is not None]
  if not compared:
    return f"{len(known)} rows measured, none to compare{more}."
  within = sum(row.verdict == "within" for row in compared)
  return f"{within} of {len(compared)} rows within tolerance{more}."


def _cells(row: Any) -> list[str]:
  """The cells of a row."""
  text = f"{row.text} ({row.note})" if row.note else row.text
  number = lambda value: "" if value is None else _number(value, row.tolerance)
  ours = number(float(np.mean(row.ours))) if row.ours else ""
  if len(row.ours) > 1:
    ours += f" ± {_number(float(np.std(row.ours, ddof=1)), row.tolerance)}"
  difference = number(row.difference)
  if row.difference is not None and row.difference > 0:
    difference = f"+{difference}"
  where = [""] * len(WHERE)
  if row.ours:
    seconds = (
      f"{row.seconds:.0f}" if row.seconds >= 10 else f"{row.seconds:.1f}"
    )
    where = [str(len(row.ours)), row.device, seconds, row.commit]
  tolerance = f"{row.tolerance:g}"
  return [
    text,
    number(row.published),
    ours,
    difference,
    tolerance,
    row.verdict,
    *where,
  ]


def _number(value: float, tolerance: float) -> str:
  """As many digits as the tolerance asks for."""
  if tolerance < 1e-3 and 1e-12 < abs(value) < 0.1:
    return f"{value:.1e}"
  return f"{value:.4f}"
