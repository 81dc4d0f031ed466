"""Calibration when a modality is missing or corrupted, by severity."""

from typing import Any

from matplotlib.figure import Figure

from kdjax.report.document import AbsentError, Drawing
from kdjax.report.figures import _corruptions
from kdjax.report.figures._lines import legend
from kdjax.report.records import Record
from kdjax.report.theme import Theme, figure, style_axes

ORDER = 42

# Metric -> how it is called.
METRICS = {"ece": "ECE", "nll": "NLL"}


def calibration(record: Record, results: dict[str, Any]) -> Drawing:
  """A row for each corruption: ECE and NLL, a line for each stage."""
  by_metric = {
    metric: _corruptions.panels(results, metric) for metric in METRICS
  }
  names = list(by_metric["ece"])
  if not names:
    # No stage with a corruption has the metrics `calibration`.
    raise AbsentError("")

  def paint(theme: Theme) -> Figure:
    canvas = figure(0.6 + 2.6 * len(names))
    panels = canvas.subplots(len(names), len(METRICS), squeeze=False)
    for row, name in zip(panels, names, strict=True):
      for axes, (metric, lines) in zip(row, by_metric.items(), strict=True):
        _corruptions.draw(axes, lines.get(name, {}), record, theme)
        axes.set(xlabel=_corruptions.level_label(results, name))
        style_axes(axes, theme, title=f"{name}: {METRICS[metric]}", grid="y")
    legend(canvas, panels.flatten(), theme)
    return canvas

  caption = (
    "Expected calibration error and negative log-likelihood on the test split, "
    "of each seed's best variables, as one modality is increasingly missing or "
    "corrupted; lower is better. Line: mean over seeds. Band: ± one sample "
    "deviation."
  )
  tables = [
    _corruptions.table(f"{name}: {METRICS[metric]}", lines[name])
    for name in names
    for metric, lines in by_metric.items()
    if name in lines
  ]
  title = "Calibration under corruption"
  return Drawing.of(title, caption, paint, tables=tables)
