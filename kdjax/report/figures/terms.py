"""What is recorded of each training step: loss terms, gradients, rates."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter

from kdjax.report.document import AbsentError, Drawing
from kdjax.report.figures._lines import band, legend, legend_rows, panels
from kdjax.report.records import Curve, Record
from kdjax.report.selection import ranked
from kdjax.report.theme import SMALL, Theme, colour, figure, style_axes

ORDER = 32

PREFIX = "train/loss/"

# Numbers that all stages have -> the title of their panel.
COMMON = {
  "train/gradient_norm": "gradient norm",
  "train/learning_rate": "learning rate",
}

# Of the terms of a stage, in turn.
STYLES = ("-", "--", ":", "-.")

# At most so many stages have a panel.
STAGES = 12

# In inches, of a row of panels.
ROW = 2.1


def terms(record: Record, results: dict[str, Any]) -> Drawing:
  """A panel for the terms of each stage, and for what stages have in common."""
  hidden = ranked(results)
  stages = [stage for stage in record.order if stage not in hidden]
  shown = _panels(record, stages[:STAGES])
  named = dict.fromkeys(
    stage for title in COMMON.values() for stage in shown.get(title, {})
  )
  if not shown:
    raise AbsentError("Training: metrics.jsonl has no loss terms.")

  def paint(theme: Theme) -> Figure:
    columns = 1 if theme.narrow else 3
    rows = -(-len(shown) // columns)
    canvas = figure(ROW * rows + 0.27 * legend_rows(named, theme))
    all_axes = panels(canvas, len(shown), columns)
    for axes, (title, lines) in zip(all_axes, shown.items(), strict=True):
      for label, (stage, style, curve) in lines.items():
        tint = colour(record, stage, theme)
        band(axes, curve, color=tint, linestyle=style, label=label)
      _finish(axes, title, theme)
      if title not in COMMON.values():
        _legend(axes, theme)
    common = zip(all_axes, shown, strict=True)
    legend(
      canvas, [it for it, name in common if name in COMMON.values()], theme
    )
    return canvas

  caption = (
    "Means of the steps since the last record. A term is shown before it is "
    "multiplied by its weight. Terms and gradients that span a factor of 30 "
    "have a logarithmic axis. Line: mean over seeds. Band: ± one sample "
    "deviation."
  )
  if len(stages) > STAGES:
    caption += f" Shown: the first {STAGES} stages of {len(stages)}."
  return Drawing.of("Training", caption, paint)


def _panels(
  record: Record, stages: list[str]
) -> dict[str, dict[str, tuple[str, str, Curve]]]:
  """Title of a panel -> label -> the stage, line style and curve of a line."""
  shown: dict[str, dict] = {}
  for stage in stages:
    names = record.names(stage, PREFIX)
    shown[f"{stage}: terms"] = {
      name.removeprefix(PREFIX): (
        stage,
        STYLES[number % len(STYLES)],
        record.curve(stage, name),
      )
      for number, name in enumerate(names)
    }
  for name, title in COMMON.items():
    lines = {stage: record.curve(stage, name) for stage in stages}
    shown[title] = {
      stage: (stage, "-", curve) for stage, curve in lines.items() if curve
    }
  return {title: lines for title, lines in shown.items() if lines}


def _finish(axes: Axes, title: str, theme: Theme) -> None:
  values = np.concatenate([line.get_ydata() for line in axes.get_lines()])
  wide = len(values) and 0 < 30 * values.min() < values.max()
  if wide and title != COMMON["train/learning_rate"]:
    axes.set_yscale("log")
    # Powers of ten have small exponents.
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    # A band may reach below zero; the limits fit the lines.
    axes.set_ylim(bottom=0.6 * values.min())
  axes.set(xlabel="step")
  axes.margins(x=0.02)
  axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
  style_axes(axes, theme, title=title, grid="y")


def _legend(axes: Axes, theme: Theme) -> None:
  """Names the terms of a stage inside of its panel."""
  axes.legend(
    frameon=False,
    labelcolor=theme.ink,
    fontsize=SMALL + 0.5,
    handlelength=1.6,
    labelspacing=0.2,
    borderaxespad=0.1,
  )
