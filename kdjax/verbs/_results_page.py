"""Published numbers next to ours: tables for the terminal and RESULTS.md."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from kdjax.config import terminal

NUMBERS = ("row", "published", "ours", "difference", "tolerance", "verdict")
RUN = ("seeds", "device", "seconds", "commit")

HEADING = """# Published results and ours

`kdjax reproduce` runs the published experiments of
[`configs/papers`](configs/papers) with the losses, methods and training loop of
kdjax, and writes this file.

- A number is the mean over seeds ± one sample deviation. It is measured on the
  test split, with the variables after the last step.
- A row is within its tolerance or marked MISSED; missed rows stay.
- `seconds` is the training time of the row's stage: all seeds and all points
  of its grid, on the device of the row.
- A commit with a + had changes that were not committed.
"""


def terminal_table(table: Any, rows: Sequence[Any]) -> Any:
  """A table for the terminal.

  Args:
    table: a `reproduction.Table`.
    rows: its `reproduction.Row`s.
  """
  drawn = terminal.table(f"{table.name}: {table.title}", (), ())
  for number, column in enumerate((*NUMBERS, *RUN)):
    drawn.add_column(column, justify="right" if 0 < number < 5 else "left")
  for row in rows:
    drawn.add_row(*_cells(row))
  return drawn


def page(tables: Iterable[tuple[Any, Sequence[Any]]], before: str = "") -> str:
  """All tables in Markdown.

  Args:
    tables: pairs of a `reproduction.Table` and its `reproduction.Row`s.
    before: the page as it is. Rows that are not measured now are kept from it,
      and tables that are not among `tables`.
  """
  old = _sections(before)
  parts = [HEADING]
  for table, rows in tables:
    kept = _rows_of(old.pop(table.name, ""))
    cells = []
    for row in rows:
      now = _cells(row)
      cells.append(now if row.ours else kept.get(now[0], now))
    head = [*NUMBERS, *RUN]
    lines = [
      f"## {table.name}",
      "",
      table.title,
      "",
      f"`kdjax reproduce {table.name}`: {_summary(cells)}",
      "",
      f"| {' | '.join(head)} |",
      f"| {' | '.join([':--', *['--:'] * 4, *[':--'] * (len(head) - 5)])} |",
      *(f"| {' | '.join(it)} |" for it in cells),
      "",
    ]
    parts.append("\n".join(lines))
  parts += [f"## {name}\n{text.rstrip()}\n" for name, text in old.items()]
  return "\n".join(parts)


def _sections(text: str) -> dict[str, str]:
  """name -> what stands under its heading, of a page."""
  found = re.split(r"^## (.+)\n", text, flags=re.MULTILINE)
  return dict(zip(found[1::2], found[2::2], strict=True))


def _rows_of(section: str) -> dict[str, list[str]]:
  """A row's text -> its cells, of the measured rows of a section."""
  rows = {}
  for line in section.splitlines():
    cells = [cell.strip() for cell in line.strip("| ").split(" | ")]
    if len(cells) == len(NUMBERS) + len(RUN) and cells[2]:
      rows[cells[0]] = cells
  return rows


def _summary(rows: Sequence[Sequence[str]]) -> str:
  """How many rows, as cells, are within their tolerance."""
  named = [dict(zip((*NUMBERS, *RUN), row, strict=True)) for row in rows]
  measured = [row for row in named if row["ours"]]
  if not measured:
    return "not measured yet."
  missing = len(rows) - len(measured)
  more = f", {missing} not measured" if missing else ""
  compared = [row for row in measured if row["verdict"] in ("within", "MISSED")]
  if not compared:
    return f"{len(measured)} rows measured, none with a published number{more}."
  within = sum(row["verdict"] == "within" for row in compared)
  return f"{within} of {len(compared)} rows within tolerance{more}."


def _cells(row: Any) -> list[str]:
  """The cells of a row."""
  text = f"{row.text} ({row.note})" if row.note else row.text
  tolerance = row.tolerance or 1.0  # none: a sign or an order
  number = lambda value: "" if value is None else _number(value, tolerance)
  published = row.published
  if not isinstance(published, str):
    published = number(published)
  ours = number(float(np.mean(row.ours))) if row.ours else ""
  if len(row.ours) > 1:
    ours += f" ± {_number(float(np.std(row.ours, ddof=1)), tolerance)}"
  ours = row.order or ours
  difference = number(row.difference)
  if row.difference and row.difference > 0 and float(difference):
    difference = f"+{difference}"
  run = [""] * len(RUN)
  if row.ours:
    seconds = (
      f"{row.seconds:.0f}" if row.seconds >= 10 else f"{row.seconds:.1f}"
    )
    run = [str(len(row.ours)), row.device, seconds, row.commit]
  return [
    text,
    published,
    ours,
    difference,
    "" if row.tolerance is None else f"{row.tolerance:g}",
    row.verdict,
    *run,
  ]


def _number(value: float, tolerance: float) -> str:
  """Three decimals, or two digits if the tolerance is below 0.001."""
  if tolerance < 1e-3 and 1e-12 < abs(value) < 0.1:
    return f"{value:.1e}"
  # Adding 0 removes the sign of -0.
  return f"{round(value, 3) + 0.0:.3f}"
