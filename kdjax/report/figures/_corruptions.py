"""Lines and tables of a metric by the level of a corruption."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from kdjax.report.document import Grid
from kdjax.report.figures._lines import band
from kdjax.report.records import Record
from kdjax.report.theme import Theme, colour, line_style, mean_and_error

# stage -> level of the corruption -> a value per seed
Lines = dict[str, dict[float, list[float]]]


def panels(results: dict[str, Any], metric: str) -> dict[str, Lines]:
  """Corruption -> the lines of a metric, of the stages that measure it.

  Args:
    results: from `report.summarize`.
    metric: such as "accuracy".
  """
  found: dict[str, Lines] = {}
  for stage, measured in results["robustness"].items():
    for name, values in measured.items():
      if metric in values:
        pairs = zip(values["levels"], values[metric], strict=True)
        found.setdefault(name, {})[stage] = dict(pairs)
  return found


def level_label(results: dict[str, Any], name: str) -> str:
  """What a corruption's levels are: its unit, or the option that is swept."""
  swept = [
    measured[name].get("sweeps", "level")
    for measured in results["robustness"].values()
    if name in measured
  ]
  if not swept[0]:
    return "share of examples without the modality"
  # A name may end with the unit, as "noise, SNR in dB".
  return name.rpartition(", ")[2] if ", " in name else swept[0]


def table(title: str, lines: Lines) -> Grid:
  """Stages by levels of one corruption."""
  levels = sorted(set().union(*lines.values()))
  rows = [
    [stage, *(_cell(curve.get(level)) for level in levels)]
    for stage, curve in lines.items()
  ]
  return Grid([title, *(f"{level:g}" for level in levels)], rows)


def draw(axes: Axes, lines: Lines, record: Record, theme: Theme) -> None:
  """Draws a line for each stage, the mean over seeds with its deviation."""
  for stage, curve in lines.items():
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


def _cell(values: list[float] | None) -> str:
  finite = [value for value in values or [] if value is not None]
  if not finite:
    return "-"
  deviation = float(np.std(finite, ddof=1)) if len(finite) > 1 else None
  return mean_and_error({"mean": float(np.mean(finite)), "std": deviation})
