"""A metric on every subset of the modalities, the others missing."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kdjax.report import subset_gains
from kdjax.report.document import AbsentError, Drawing, Grid
from kdjax.report.figures._lines import legend
from kdjax.report.records import Record
from kdjax.report.selection import headline
from kdjax.report.subset_gains import AND, JOIN
from kdjax.report.theme import (
  Theme,
  colour,
  figure,
  mean_and_error,
  pale,
  style_axes,
)

ORDER = 38

# Subsets next to each other, beyond which their names are upright.
WIDE = 5

# The share of a subset's width that its bars take.
BARS = 0.8


def subsets(record: Record, results: dict[str, Any]) -> Drawing:
  """For each subset a bar for each stage that is measured on it."""
  metric = headline(record, results)
  measured = {
    stage: {
      name: values[metric] for name, values in found.items() if metric in values
    }
    for stage, found in results.get("subsets", {}).items()
  }
  measured = {stage: found for stage, found in measured.items() if found}
  if not measured:
    # The config requests none.
    raise AbsentError("")
  names = sorted(
    dict.fromkeys(name for found in measured.values() for name in found),
    key=lambda name: name.count(JOIN),
  )

  def paint(theme: Theme) -> Figure:
    canvas = figure(3.6)
    axes = canvas.subplots()
    width = BARS / len(measured)
    for place, (stage, found) in enumerate(measured.items()):
      tint = colour(record, stage, theme)
      axes.bar(0, 0, color=pale(tint, theme), label=stage)
      for x, name in enumerate(names):
        at = x - BARS / 2 + (place + 0.5) * width
        _bar(axes, at, width, found.get(name), tint, theme)
    labels = [name.replace(JOIN, AND) for name in names]
    axes.set_xticks(range(len(names)), labels)
    if len(names) > WIDE:
      axes.tick_params(axis="x", labelrotation=90)
    style_axes(axes, theme, title=f"test {metric}", grid="y")
    legend(canvas, [axes], theme)
    return canvas

  caption = (
    f"Test {metric} of each seed's best variables where examples have some of "
    "their modalities and lack the others. Bar: mean over seeds ± one sample "
    "deviation. Each dot is a seed. A stage has no bar on a subset with which "
    "its student cannot predict."
  )
  tables = [_table(measured, names)]
  gains = results.get("subset_gains")
  if gains:
    tables.append(subset_gains.grid(gains, names))
    caption += f" {subset_gains.CAPTION}"
  return Drawing.of("Subsets of the modalities", caption, paint, tables=tables)


def _table(measured: dict[str, dict[str, Any]], names: list[str]) -> Grid:
  """A row for each stage, a column for each subset."""
  rows = [
    [stage, *(mean_and_error(found.get(name)) for name in names)]
    for stage, found in measured.items()
  ]
  return Grid(["stage", *(name.replace(JOIN, AND) for name in names)], rows)


def _bar(
  axes: Axes,
  at: float,
  width: float,
  number: dict[str, Any] | None,
  tint: str,
  theme: Theme,
) -> None:
  """Draws a mean with its deviation, and a dot for each seed."""
  if number is None or number["mean"] is None:
    return
  axes.bar(at, number["mean"], 0.9 * width, color=pale(tint, theme))
  axes.errorbar(at, number["mean"], number["std"], color=theme.ink, zorder=3)
  seeds = [value for value in number["seeds"] if value is not None]
  spread = at + width * np.linspace(-0.25, 0.25, len(seeds) + 2)[1:-1]
  axes.scatter(spread, seeds, s=10, color=tint, zorder=4)
