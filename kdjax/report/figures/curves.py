"""Training loss and validation metric of every stage over the steps."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from kdjax.report.document import AbsentError, Drawing
from kdjax.report.figures._lines import band, legend
from kdjax.report.records import Record
from kdjax.report.selection import headline, ranked
from kdjax.report.theme import (
  Theme,
  colour,
  figure,
  line_style,
  style_axes,
)

ORDER = 30


def curves(record: Record, results: dict[str, Any]) -> Drawing:
  """A panel for the training loss, one for the metric on validation."""
  hidden = ranked(results)
  names = ("train/loss", f"validation/{headline(record, results)}")
  panels = {
    name: {
      stage: curve
      for stage in record.order
      if stage not in hidden and (curve := record.curve(stage, name))
    }
    for name in names
  }
  panels = {name: lines for name, lines in panels.items() if lines}
  if not panels:
    raise AbsentError(f"Curves: metrics.jsonl has no {' and no '.join(names)}.")

  def paint(theme: Theme) -> Figure:
    canvas = figure(3.6)
    all_axes = canvas.subplots(1, len(panels), squeeze=False)[0]
    for axes, (name, lines) in zip(all_axes, panels.items(), strict=True):
      for stage, curve in lines.items():
        tint, style = colour(record, stage, theme), line_style(record, stage)
        band(axes, curve, color=tint, linestyle=style, label=stage)
      if name == "train/loss":
        _log_if_wide(axes)
      axes.set(xlabel="step")
      axes.margins(x=0.02)
      axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
      style_axes(axes, theme, title=name, grid="y")
    legend(canvas, all_axes, theme)
    return canvas

  caption = (
    "Line: mean over seeds. Band: ± one sample deviation. The loss of a stage "
    "is the sum of its own weighted terms, so losses of different stages are "
    "not comparable."
  )
  return Drawing.of("Curves", caption, paint)


def _log_if_wide(axes: Axes) -> None:
  """A logarithmic axis if the lines are positive and span a factor of 30."""
  values = np.concatenate([line.get_ydata() for line in axes.get_lines()])
  if len(values) and 0 < 30 * values.min() < values.max():
    axes.set_yscale("log")
    # A band may reach below zero; the limits fit the lines.
    axes.set_ylim(bottom=0.6 * values.min())
