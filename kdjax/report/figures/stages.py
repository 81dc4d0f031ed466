"""The test metric of every stage, and the gains."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from kdjax.report.document import TEST_RESULTS, AbsentError, Drawing
from kdjax.report.records import Record
from kdjax.report.selection import headline, ranked
from kdjax.report.theme import (
  Theme,
  colour,
  figure,
  mean_and_error,
  pale,
  style_axes,
)

ORDER = 10


def stages(record: Record, results: dict[str, Any]) -> Drawing:
  """A bar for every stage with a dot for every seed, next to the gains."""
  metric, hidden = headline(record, results), ranked(results)
  bars = {
    stage: numbers[metric]
    for stage, numbers in results["stages"].items()
    if stage not in hidden
    and metric in numbers
    and numbers[metric]["mean"] is not None
  }
  if not bars:
    raise AbsentError("Stages: no stage is finished.")
  gains = {
    name: gain
    for name, gain in results["gains"].items()
    if gain["mean"] is not None and name.partition(" - ")[0] not in hidden
  }

  def paint(theme: Theme) -> Figure:
    canvas = figure(1.1 + 0.5 * max(len(bars), len(gains), 2))
    ratios = [1.3, 1] if gains else [1]
    panels = canvas.subplots(
      1, len(ratios), squeeze=False, width_ratios=ratios
    )[0]
    colours = [colour(record, stage, theme) for stage in bars]
    _bars(panels[0], bars, colours, metric, theme)
    if gains:
      tints = [colour(record, name.split(" - ")[0], theme) for name in gains]
      _gains(panels[1], gains, tints, theme)
    return canvas

  caption = (
    f"Bars: {metric} on the test split, mean over seeds ± one sample "
    "deviation. Each dot is a seed."
  )
  if gains:
    caption += (
      " Gains: the difference between two stages with the same seed, mean over "
      "seeds ± one standard error."
    )
  return Drawing.of("Stages", caption, paint, section=TEST_RESULTS)


def _bars(axes: Axes, bars, colours, metric: str, theme: Theme) -> None:
  """Draws horizontal bars that start at zero."""
  for row, (bar, tint) in enumerate(zip(bars.values(), colours, strict=True)):
    axes.barh(row, bar["mean"], height=0.62, color=pale(tint, theme))
    _dots(axes, row, bar["seeds"], tint, theme)
    _whisker(axes, row, bar["mean"], bar["std"], theme)
    axes.text(
      1.03,
      row,
      mean_and_error(bar),
      transform=axes.get_yaxis_transform(),
      va="center",
      color=theme.ink,
      fontsize=10,
    )
  if metric == "accuracy":
    axes.set_xlim(0, 1)
  _rows(axes, len(bars))
  axes.set_yticks(range(len(bars)), list(bars))
  style_axes(axes, theme, title=f"test {metric}", grid="x")
  axes.tick_params(axis="y", colors=theme.ink, labelsize=10)


def _gains(axes: Axes, gains, colours, theme: Theme) -> None:
  """Draws the gains on both sides of a line at zero."""
  axes.axvline(0, color=theme.muted, linewidth=1)
  for row, (name, tint) in enumerate(zip(gains, colours, strict=True)):
    gain = gains[name]
    _dots(axes, row, gain["seeds"], tint, theme)
    _whisker(axes, row, gain["mean"], gain["stderr"], theme)
    axes.text(
      0.02,
      row - 0.3,
      f"{name.replace(' - ', ' over ')}: {mean_and_error(gain, '+')}",
      transform=axes.get_yaxis_transform(),
      va="bottom",
      color=theme.ink,
      fontsize=10,
      bbox={"facecolor": theme.background, "edgecolor": "none", "pad": 2},
    )
  metrics = dict.fromkeys(gain["metric"] for gain in gains.values())
  axes.margins(x=0.2)
  axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
  axes.xaxis.set_major_formatter(_signed)
  _rows(axes, len(gains))
  axes.set_yticks([])
  style_axes(axes, theme, title=f"gain in test {', '.join(metrics)}", grid="x")


def _signed(value: float, _) -> str:
  return f"{value:+.6g}" if abs(value) > 1e-12 else "0"


def _rows(axes: Axes, count: int) -> None:
  axes.set_ylim(count - 0.5, -0.6)


def _dots(axes: Axes, row: int, seeds, tint: str, theme: Theme) -> None:
  """Draws a dot per seed, at different heights since seeds may be equal."""
  seeds = [value for value in seeds if value is not None]
  heights = row + np.linspace(-0.2, 0.2, len(seeds) + 2)[1:-1]
  axes.scatter(
    seeds,
    heights,
    s=26,
    color=tint,
    edgecolors=theme.background,
    linewidths=0.6,
    zorder=4,
  )


def _whisker(axes: Axes, row: int, mean, error, theme: Theme) -> None:
  axes.errorbar(
    mean,
    row,
    xerr=error,
    fmt="|",
    markersize=22,
    markeredgewidth=1.8,
    color=theme.ink,
    elinewidth=1.4,
    zorder=3,
  )
