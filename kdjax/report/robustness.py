"""How a metric falls as a modality goes missing or gets worse."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kdjax.report.figures import band, headline, legend
from kdjax.report.page import Grid
from kdjax.report.records import Record
from kdjax.report.theme import (
  AbsentError,
  Drawing,
  Theme,
  colour,
  figure,
  line_style,
  plain,
  spread,
)

# Panels side by side.
COLUMNS = 2


def robustness(record: Record, results: dict[str, Any]) -> Drawing:
  """A panel for each corruption, a line for each stage measured under it."""
  metric = headline(record, results)
  panels = curves(results, metric)
  if not panels:
    # Nobody asked for any.
    raise AbsentError("")

  def draw(theme: Theme) -> Figure:
    rows = -(-len(panels) // COLUMNS)
    canvas = figure(0.6 + 2.8 * rows)
    columns = min(COLUMNS, len(panels))
    spaces = canvas.subplots(rows, columns, squeeze=False).flatten()
    for axes in spaces[len(panels) :]:
      axes.set_visible(False)
    for axes, (name, lines) in zip(spaces, panels.items(), strict=False):
      for stage, curve in lines.items():
        _line(axes, curve, record, stage, theme)
      axes.set(xlabel=level(results, name))
      plain(axes, theme, title=name, grid="y")
    legend(canvas, spaces[: len(panels)], theme)
    return canvas

  caption = (
    f"Test {metric} of each seed's best variables under what the config's "
    "`robustness` does to one modality, more and more. Line: mean over seeds. "
    "Band: one sample deviation either way."
  )
  return Drawing.of("robustness", "Robustness", caption, draw)


def level(results: dict[str, Any], name: str) -> str:
  """What the levels of a corruption are."""
  swept = [
    measured[name].get("sweeps", "level")
    for measured in results["robustness"].values()
    if name in measured
  ]
  return swept[0] or "share of the examples without it"


def curves(
  results: dict[str, Any], metric: str
) -> dict[str, dict[str, dict[float, list[float]]]]:
  """corruption -> stage -> level -> a value a seed."""
  found: dict[str, dict] = {}
  for stage, measured in results["robustness"].items():
    for name, values in measured.items():
      if metric in values:
        pairs = zip(values["levels"], values[metric], strict=True)
        found.setdefault(name, {})[stage] = dict(pairs)
  return found


def grids(record: Record, results: dict[str, Any]) -> list[Grid]:
  """A table for each corruption: stages by levels."""
  made = []
  for name, lines in curves(results, headline(record, results)).items():
    levels = sorted(set().union(*lines.values()))
    rows = [
      [stage, *(_cell(curve.get(level)) for level in levels)]
      for stage, curve in lines.items()
    ]
    made.append(Grid([name, *(f"{level:g}" for level in levels)], rows))
  return made


def _cell(values: list[float] | None) -> str:
  known = [value for value in values or [] if value is not None]
  if not known:
    return "-"
  deviation = float(np.std(known, ddof=1)) if len(known) > 1 else None
  return spread({"mean": float(np.mean(known)), "std": deviation})


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
