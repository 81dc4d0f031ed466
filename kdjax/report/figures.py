"""Figures of numbers: the stages and their gains, the curves over the steps."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from kdjax.report.page import ranked
from kdjax.report.records import Curve, Record
from kdjax.report.theme import (
  AbsentError,
  Drawing,
  Theme,
  colour,
  figure,
  line_style,
  pale,
  plain,
  spread,
)


def stages(record: Record, results: dict[str, Any]) -> Drawing:
  """Bars of the stages with a dot for every seed; beside them, the gains."""
  metric, inside = headline(record, results), ranked(results)
  bars = {
    stage: numbers[metric]
    for stage, numbers in results["stages"].items()
    if stage not in inside
    and metric in numbers
    and numbers[metric]["mean"] is not None
  }
  if not bars:
    raise AbsentError("Stages: none is finished.")
  gains = {
    name: gain
    for name, gain in results["gains"].items()
    if gain["mean"] is not None and name.partition(" - ")[0] not in inside
  }

  def draw(theme: Theme) -> Figure:
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
    f"Bars: {metric} on the test split, mean over seeds, with one sample "
    "deviation either way. Each dot is a seed."
  )
  if gains:
    caption += (
      " Gains: the difference of two stages with the same seed, mean over "
      "seeds, with one standard error either way."
    )
  return Drawing.of("stages", "Stages", caption, draw)


def curves(record: Record, results: dict[str, Any]) -> Drawing:
  """The loss in training and the metric on validation, over the steps."""
  inside = ranked(results)
  names = ("train/loss", f"validation/{headline(record, results)}")
  panels = {
    name: {
      stage: curve
      for stage in record.order
      if stage not in inside and (curve := record.curve(stage, name))
    }
    for name in names
  }
  panels = {name: lines for name, lines in panels.items() if lines}
  if not panels:
    raise AbsentError(f"Curves: metrics.jsonl has no {' and no '.join(names)}.")

  def draw(theme: Theme) -> Figure:
    canvas = figure(3.6)
    spaces = canvas.subplots(1, len(panels), squeeze=False)[0]
    for axes, (name, lines) in zip(spaces, panels.items(), strict=True):
      for stage, curve in lines.items():
        tint, style = colour(record, stage, theme), line_style(record, stage)
        band(axes, curve, color=tint, linestyle=style, label=stage)
      if name == "train/loss":
        _log_if_wide(axes)
      axes.set(xlabel="step")
      axes.margins(x=0.02)
      axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
      plain(axes, theme, title=name, grid="y")
    legend(canvas, spaces, theme)
    return canvas

  caption = (
    "Line: mean over seeds. Band: one sample deviation either way. A stage's "
    "loss is the sum of its own weighted terms: its height means nothing "
    "beside another stage's."
  )
  return Drawing.of("curves", "Curves", caption, draw)


def headline(record: Record, results: dict[str, Any]) -> str:
  """The metric to draw: accuracy, or else what the last stage selects by."""
  finished = results["stages"]
  select = [record.config["stages"][stage]["select"] for stage in record.order]
  known = any("accuracy" in numbers for numbers in finished.values())
  return "accuracy" if known or "accuracy" in select else select[-1]


def _bars(axes: Axes, bars, colours, metric: str, theme: Theme) -> None:
  """Horizontal bars from zero, whose lengths compare as the numbers do."""
  for place, (bar, tint) in enumerate(zip(bars.values(), colours, strict=True)):
    axes.barh(place, bar["mean"], height=0.62, color=pale(tint, theme))
    _dots(axes, place, bar["seeds"], tint, theme)
    _whisker(axes, place, bar["mean"], bar["std"], theme)
    axes.text(
      1.03,
      place,
      spread(bar),
      transform=axes.get_yaxis_transform(),
      va="center",
      color=theme.ink,
      fontsize=10,
    )
  if metric == "accuracy":
    axes.set_xlim(0, 1)
  _rows(axes, len(bars))
  axes.set_yticks(range(len(bars)), list(bars))
  plain(axes, theme, title=f"test {metric}", grid="x")
  axes.tick_params(axis="y", colors=theme.ink, labelsize=10)


def _gains(axes: Axes, gains, colours, theme: Theme) -> None:
  """Differences around a line at zero."""
  axes.axvline(0, color=theme.muted, linewidth=1)
  for place, (name, tint) in enumerate(zip(gains, colours, strict=True)):
    gain = gains[name]
    _dots(axes, place, gain["seeds"], tint, theme)
    _whisker(axes, place, gain["mean"], gain["stderr"], theme)
    axes.text(
      0.02,
      place - 0.3,
      f"{name.replace(' - ', ' over ')}: {spread(gain, '+')}",
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
  plain(axes, theme, title=f"gain in test {', '.join(metrics)}", grid="x")


def _signed(value: float, _) -> str:
  return f"{value:+.6g}" if abs(value) > 1e-12 else "0"


def _rows(axes: Axes, count: int) -> None:
  axes.set_ylim(count - 0.5, -0.6)


def _dots(axes: Axes, place: int, seeds, tint: str, theme: Theme) -> None:
  # Spread a little, for seeds are often equal on a small test split.
  seeds = [value for value in seeds if value is not None]
  heights = place + np.linspace(-0.2, 0.2, len(seeds) + 2)[1:-1]
  axes.scatter(
    seeds,
    heights,
    s=26,
    color=tint,
    edgecolors=theme.background,
    linewidths=0.6,
    zorder=4,
  )


def _whisker(axes: Axes, place: int, mean, spread, theme: Theme) -> None:
  axes.errorbar(
    mean,
    place,
    xerr=spread,
    fmt="|",
    markersize=22,
    markeredgewidth=1.8,
    color=theme.ink,
    elinewidth=1.4,
    zorder=3,
  )


def band(axes: Axes, curve: Curve, **style) -> None:
  """The mean of the seeds, and a deviation either way where there are two."""
  steps, means, deviations = [], [], []
  for step in sorted(set().union(*curve.values())):
    values = [seed[step] for seed in curve.values() if step in seed]
    values = [value for value in values if np.isfinite(value)]
    if values:
      steps.append(step)
      means.append(np.mean(values))
      deviations.append(np.std(values, ddof=1) if len(values) > 1 else 0.0)
  means, deviations = np.asarray(means), np.asarray(deviations)
  axes.plot(steps, means, linewidth=1.8, **style)
  low, high = means - deviations, means + deviations
  axes.fill_between(
    steps, low, high, color=style["color"], alpha=0.2, linewidth=0
  )


def _log_if_wide(axes: Axes) -> None:
  """A logarithmic axis where the lines are positive and decades apart."""
  values = np.concatenate([line.get_ydata() for line in axes.get_lines()])
  if len(values) and 0 < 30 * values.min() < values.max():
    axes.set_yscale("log")
    # A band may reach below zero; the lines are what is to be seen.
    axes.set_ylim(bottom=0.6 * values.min())


def legend(canvas: Figure, spaces, theme: Theme) -> None:
  """One for all panels, below them."""
  shown = {}
  for axes in spaces:
    handles, labels = axes.get_legend_handles_labels()
    shown.update(zip(labels, handles, strict=True))
  canvas.legend(
    shown.values(),
    shown.keys(),
    loc="outside lower center",
    ncols=min(6, len(shown)),
    frameon=False,
    labelcolor=theme.ink,
    fontsize=10,
  )
