"""A metric when a modality is missing or corrupted, by severity."""

from typing import Any

from matplotlib.figure import Figure

from kdjax.report.document import AbsentError, Drawing
from kdjax.report.figures import _corruptions
from kdjax.report.figures._lines import legend
from kdjax.report.records import Record
from kdjax.report.selection import headline
from kdjax.report.theme import Theme, figure, style_axes

ORDER = 40

# Panels next to each other.
COLUMNS = 2


def robustness(record: Record, results: dict[str, Any]) -> Drawing:
  """A panel for each corruption, a line for each stage measured under it."""
  metric = headline(record, results)
  panels = _corruptions.panels(results, metric)
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
      _corruptions.draw(axes, lines, record, theme)
      axes.set(xlabel=_corruptions.level_label(results, name))
      style_axes(axes, theme, title=name, grid="y")
    legend(canvas, all_axes[: len(panels)], theme)
    return canvas

  caption = (
    f"Test {metric} of each seed's best variables as one modality is "
    "increasingly missing or corrupted. Line: mean over seeds. Band: ± one "
    "sample deviation."
  )
  tables = [_corruptions.table(name, lines) for name, lines in panels.items()]
  return Drawing.of("Robustness", caption, paint, tables=tables)
