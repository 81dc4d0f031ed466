"""The gains of many stages over a baseline, sorted."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kdjax.report import rankings
from kdjax.report.document import AbsentError, Drawing
from kdjax.report.records import Record
from kdjax.report.theme import Theme, colour, figure, pale, style_axes

ORDER = 20


def ranking(record: Record, results: dict[str, Any]) -> Drawing:
  """A panel for every baseline, a bar for every stage compared with it."""
  groups = results["rankings"]
  if not groups:
    raise AbsentError

  def paint(theme: Theme) -> Figure:
    sizes = [len(rows) for rows in groups.values()]
    canvas = figure(0.9 * len(sizes) + 0.23 * sum(sizes))
    panels = canvas.subplots(
      len(sizes),
      1,
      squeeze=False,
      sharex=True,
      height_ratios=[size + 1 for size in sizes],
    )[:, 0]
    for axes, (worse, rows) in zip(panels, groups.items(), strict=True):
      _panel(axes, rows, worse, colour(record, worse, theme), theme)
    return canvas

  caption = (
    "Gain over the baseline on the test split, paired by seed: mean ± one "
    "standard error. Each dot is a seed. In the table, intervals are Student's "
    "with 95 % coverage. Holm p is the p value of the two-sided paired t-test, "
    "adjusted for all stages with this baseline (Holm, 1979)."
  )
  tables = rankings.grids(results)
  return Drawing.of("Stages by their gain", caption, paint, tables=tables)


def _panel(axes: Axes, rows, worse: str, tint: str, theme: Theme) -> None:
  axes.axvline(0, color=theme.muted, linewidth=1)
  for height, row in enumerate(rows):
    gain = row["gain"]
    axes.barh(height, gain["mean"], height=0.66, color=pale(tint, theme))
    axes.errorbar(
      gain["mean"],
      height,
      xerr=gain["stderr"],
      color=theme.ink,
      elinewidth=1.2,
      zorder=3,
    )
    values = [value for value in gain["seeds"] if value is not None]
    heights = height + np.linspace(-0.2, 0.2, len(values) + 2)[1:-1]
    axes.scatter(values, heights, s=9, color=tint, zorder=4)
  axes.set_ylim(len(rows) - 0.4, -0.6)
  axes.set_yticks(range(len(rows)), [row["stage"] for row in rows])
  metric = rows[0]["metric"]
  style_axes(axes, theme, title=f"gain in test {metric} over {worse}", grid="x")
  axes.tick_params(axis="x", labelbottom=True)
  axes.tick_params(axis="y", colors=theme.ink)
