"""The ranks of stages in several runs, and their means."""

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from kdjax.report.document import Drawing
from kdjax.report.figures._lines import legend
from kdjax.report.mean_ranks import TITLE
from kdjax.report.theme import Theme, figure, style_axes

# The file of the figure, without its ending.
NAME = "mean_ranks"

# Runs of the same colour have different marks.
MARKS = "os^Dv"

# How far the marks of different runs lie apart, in rows.
SPREAD = 0.6


def draw(found: Mapping[str, Mapping[str, Any]]) -> Drawing:
  """A panel for every baseline, a row for every stage.

  Args:
    found: from `mean_ranks.of_runs`, of one baseline or more.
  """

  def paint(theme: Theme) -> Figure:
    sizes = [len(it["rows"]) for it in found.values()]
    canvas = figure(0.4 + 0.8 * len(sizes) + 0.25 * sum(sizes))
    panels = canvas.subplots(
      len(sizes),
      1,
      squeeze=False,
      height_ratios=[size + 1 for size in sizes],
    )[:, 0]
    for axes, (worse, it) in zip(panels, found.items(), strict=True):
      _panel(axes, it["rows"], it["runs"], theme)
      title = f"rank by gain over {worse}"
      style_axes(axes, theme, title=title, grid="x")
      axes.tick_params(axis="y", colors=theme.ink)
    legend(canvas, panels, theme)
    return canvas

  caption = (
    "Each mark is a run; 1 is the best rank. Bars: mean rank over the runs and "
    "its 95 % interval (Student's), which may end outside of the figure."
  )
  return Drawing.of(TITLE, caption, paint)


def _panel(axes: Axes, rows, runs, theme: Theme) -> None:
  for run, name in enumerate(runs):
    # Marks of equal ranks lie beside each other.
    shift = SPREAD * ((run + 0.5) / len(runs) - 0.5)
    axes.scatter(
      [row["ranks"][run] for row in rows],
      [height + shift for height in range(len(rows))],
      s=22,
      marker=MARKS[run // len(theme.stages) % len(MARKS)],
      color=theme.stages[run % len(theme.stages)],
      edgecolors=theme.background,
      linewidths=0.6,
      zorder=4,
      label=name,
    )
  for height, row in enumerate(rows):
    ends = row["interval"] or [row["mean"], row["mean"]]
    axes.errorbar(
      row["mean"],
      height,
      xerr=[[row["mean"] - ends[0]], [ends[1] - row["mean"]]],
      fmt="|",
      markersize=13,
      markeredgewidth=1.8,
      color=theme.ink,
      elinewidth=1.2,
      zorder=3,
    )
  axes.xaxis.set_major_locator(MaxNLocator(integer=True))
  axes.set_xlim(0.4, len(rows) + 0.6)
  axes.set_ylim(len(rows) - 0.4, -0.6)
  axes.set_yticks(range(len(rows)), [row["stage"] for row in rows])
