"""What is measured on validation, of every stage over the steps."""

from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from kdjax.report.document import AbsentError, Drawing
from kdjax.report.figures._lines import band, legend, legend_rows, panels
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

# Further metrics that are comparable between stages -> what they are.
METRICS = {
  "nll": "negative log-likelihood",
  "ece": "expected calibration error",
  "agreement": "agreement with the teacher",
  "kl": "divergence from the teacher",
}

# In inches: of a row of panels, and of a row of the legend.
ROW, LEGEND = 2.5, 0.27


def curves(record: Record, results: dict[str, Any]) -> Drawing:
  """A panel for each metric that stages have in common, a line for each."""
  hidden, main = ranked(results), headline(record, results)
  shown = {}
  for metric in dict.fromkeys((main, *METRICS)):
    lines = {
      stage: record.curve(stage, f"validation/{metric}")
      for stage in record.order
      if stage not in hidden
    }
    shown[metric] = {stage: curve for stage, curve in lines.items() if curve}
  shown = {metric: lines for metric, lines in shown.items() if lines}
  if not shown:
    raise AbsentError(f"Curves: metrics.jsonl has no validation/{main}.")
  names = list(dict.fromkeys(it for lines in shown.values() for it in lines))

  def paint(theme: Theme) -> Figure:
    columns = 1 if theme.narrow else 2
    rows = -(-len(shown) // columns)
    canvas = figure(ROW * rows + LEGEND * legend_rows(names, theme))
    all_axes = panels(canvas, len(shown), columns)
    for axes, (metric, lines) in zip(all_axes, shown.items(), strict=True):
      for stage, curve in lines.items():
        tint, style = colour(record, stage, theme), line_style(record, stage)
        band(axes, curve, color=tint, linestyle=style, label=stage)
      axes.set(xlabel="step")
      axes.margins(x=0.02)
      axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
      title = METRICS.get(metric, metric)
      style_axes(axes, theme, title=f"validation: {title}", grid="y")
    legend(canvas, all_axes, theme)
    return canvas

  caption = (
    "Measured on the validation split during training. Line: mean over seeds. "
    "Band: ± one sample deviation."
  )
  return Drawing.of("Validation", caption, paint)
