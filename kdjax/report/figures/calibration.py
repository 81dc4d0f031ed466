"""Calibration when a modality is missing or corrupted, by severity."""

from typing import Any

from matplotlib.figure import Figure

from kdjax.report.document import AbsentError, Drawing
from kdjax.report.figures import _corruptions
from kdjax.report.figures._lines import legend, legend_rows, panels
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
    columns = 1 if theme.narrow else len(METRICS)
    shown = [(name, metric) for name in names for metric in METRICS]
    stages = dict.fromkeys(
      it for name in names for it in by_metric["ece"][name]
    )
    rows = -(-len(shown) // columns)
    canvas = figure(0.3 + 2.5 * rows + 0.27 * legend_rows(stages, theme))
    all_axes = panels(canvas, len(shown), columns)
    for axes, (name, metric) in zip(all_axes, shown, strict=True):
      lines = by_metric[metric].get(name, {})
      _corruptions.draw(axes, lines, record, theme)
      axes.set(xlabel=_corruptions.level_label(results, name))
      style_axes(axes, theme, title=f"{name}: {METRICS[metric]}", grid="y")
    legend(canvas, all_axes, theme)
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
