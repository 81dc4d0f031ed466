"""A metric on every subset of the modalities, the others missing."""

from typing import Any

from matplotlib.figure import Figure

from kdjax.report import subset_gains
from kdjax.report.document import AbsentError, Drawing, Grid
from kdjax.report.figures import _points
from kdjax.report.figures._lines import legend, legend_rows
from kdjax.report.records import Record
from kdjax.report.selection import headline
from kdjax.report.subset_gains import AND, JOIN
from kdjax.report.theme import (
  Theme,
  colour,
  figure,
  mean_and_error,
  style_axes,
)

ORDER = 38

# The share of a subset's height that its rows take.
SPREAD = 0.76


def subsets(record: Record, results: dict[str, Any]) -> Drawing:
  """For each subset a mark for each stage that is measured on it."""
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
  names = _names(measured)

  def paint(theme: Theme) -> Figure:
    rows = legend_rows(measured, theme)
    canvas = figure(
      0.7 + len(names) * (0.16 * len(measured) + 0.16) + 0.27 * rows
    )
    axes = canvas.subplots()
    step = SPREAD / len(measured)
    for place, (stage, found) in enumerate(measured.items()):
      tint = colour(record, stage, theme)
      axes.plot([], [], color=tint, marker="o", linestyle="none", label=stage)
      for y, name in enumerate(names):
        number = found.get(name)
        if number is not None and number["mean"] is not None:
          height = y - SPREAD / 2 + (place + 0.5) * step
          _points.strip(axes, height, number, _points.deviation(number), tint)
    _points.scale(axes, len(names))
    labels = [name.replace(JOIN, AND) for name in names]
    axes.set_yticks(range(len(names)), labels)
    style_axes(axes, theme, title=f"test {metric}", grid="x")
    axes.tick_params(axis="y", colors=theme.ink)
    legend(canvas, [axes], theme)
    return canvas

  caption = (
    f"Test {metric} of each seed's best variables where examples have some of "
    "their modalities and lack the others. Mean over seeds; line: ± one sample "
    "deviation; each small dot is a seed. A stage has no mark on a subset with "
    "which its student cannot predict."
  )
  tables = [_table(measured, names)]
  gains = results.get("subset_gains")
  if gains:
    tables.append(subset_gains.grid(gains, names))
    caption += f" {subset_gains.CAPTION}"
  return Drawing.of("Subsets of the modalities", caption, paint, tables=tables)


def _names(measured: dict[str, dict[str, Any]]) -> list[str]:
  """All subsets, those of fewer modalities first."""
  return sorted(
    dict.fromkeys(name for found in measured.values() for name in found),
    key=lambda name: name.count(JOIN),
  )


def _table(measured: dict[str, dict[str, Any]], names: list[str]) -> Grid:
  """A row for each stage, a column for each subset."""
  rows = [
    [stage, *(mean_and_error(found.get(name)) for name in names)]
    for stage, found in measured.items()
  ]
  return Grid(["stage", *(name.replace(JOIN, AND) for name in names)], rows)
