"""A metric when a modality is missing or corrupted, by severity."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kdjax.report.document import AbsentError, Drawing, Grid
from kdjax.report.figures._lines import band, legend
from kdjax.report.records import Record
from kdjax.report.selection import headline
from kdjax.report.theme import (
  Theme,
  colour,
  figure,
  line_style,
  mean_and_error,
  style_axes,
)

ORDER = 40

# Panels next to each other.
COLUMNS = 2

# stage -> level of the corruption -> a value per seed
Lines = dict[str, dict[float, list[float]]]


def robustness(record: Record, results: dict[str, Any]) -> Drawing:
  """A panel for each corruption, a line for each stage measured under it."""
  metric = headline(record, results)
  panels = _panels(results, metric)
  if not panels:
    # The config requests none.
    raise AbsentError("")

  def paint(theme: Theme) -> Figure:
    rows = -(-len(panels) // COLUMNS)
    canvas = figure(0.6 + 2.8 * rows)
    columns = min(COLUMNS, len(panels))
    all_axes = canvas.subplots(rows, columns, squeeze=False).flatten()
    for axes in all_axes[len(panels) :]:
      axes.set_visible(False)
    for axes, (name, lines) in zip(all_axes, panels.items(), strict=False):
      for stage, curve in lines.items():
        _line(axes, curve, record, stage, theme)
      axes.set(xlabel=_level_label(results, name))
      style_axes(axes, theme, title=name, grid="y")
    legend(canvas, all_axes[: len(panels)], theme)
    return canvas

  caption = (
    f"Test {metric} of each seed's best variables as one modality is "
    "increasingly missing or corrupted. Line: mean over seeds. Band: ± one "
    "sample deviation."
  )
  tables = [_table(name, lines) for name, lines in panels.items()]
  return Drawing.of("Robustness", caption, paint, tables=tables)


def _panels(results: dict[str, Any], metric: str) -> dict[str, Lines]:
  """Corruption -> its lines."""
  panels: dict[str, Lines] = {}
  for stage, measured in results["robustness"].items():
    for name, values in measured.items():
      if metric in values:
        pairs = zip(values["levels"], values[metric], strict=True)
        panels.setdefault(name, {})[stage] = dict(pairs)
  return panels


def _level_label(results: dict[str, Any], name: str) -> str:
  """The unit of a corruption's levels."""
  swept = [
    measured[name].get("sweeps", "level")
    for measured in results["robustness"].values()
    if name in measured
  ]
  return swept[0] or "share of examples without the modality"


def _table(name: str, lines: Lines) -> Grid:
  """Stages by levels of one corruption."""
  levels = sorted(set().union(*lines.values()))
  rows = [
    [stage, *(_cell(curve.get(level)) for level in levels)]
    for stage, curve in lines.items()
  ]
  return Grid([name, *(f"{level:g}" for level in levels)], rows)


def _cell(values: list[float] | None) -> str:
  finite = [value for value in values or [] if value is not None]
  if not finite:
    return "-"
  deviation = float(np.std(finite, ddof=1)) if len(finite) > 1 else None
  return mean_and_error({"mean": float(np.mean(finite)), "std": deviation})


def _line(axes: Axes, curve, record: Record, stage: str, theme: Theme) -> None:
  by_seed: dict[int, dict[float, float]] = {}
  for level, values in curve.items():
    for seed, value in enumerate(values):
      if value is not None:
        by_seed.setdefault(seed, {})[level] = value
  band(
    axes,
    by_seed,
    color=colour(record, stage, theme),
    linestyle=line_style(record, stage),
    label=stage,
  )
