"""A metric when a modality is missing or corrupted, by severity."""

from typing import Any

from matplotlib.figure import Figure

from kdjax.report.document import AbsentError, Drawing
from kdjax.report.figures import _corruptions, _lines
from kdjax.report.figures._lines import legend, legend_rows
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
    columns = 1 if theme.narrow else COLUMNS
    names = dict.fromkeys(stage for it in panels.values() for stage in it)
    rows = -(-len(panels) // columns)
    canvas = figure(0.3 + 2.6 * rows + 0.27 * legend_rows(names, theme))
    all_axes = _lines.panels(canvas, len(panels), columns)
    for axes, (name, lines) in zip(all_axes, panels.items(), strict=True):
      _corruptions.draw(axes, lines, record, theme)
      axes.set(xlabel=_corruptions.level_label(results, name))
      style_axes(axes, theme, title=name, grid="y")
    legend(canvas, all_axes, theme)
    return canvas

  caption = (
    f"Test {metric} of each seed's best variables as one modality is "
    "increasingly missing or corrupted. Line: mean over seeds. Band: ± one "
    "sample deviation. The tables have the same numbers; their columns are the "
    "levels, in the units of the figure's axes."
  )
  tables = [_corruptions.table(name, lines) for name, lines in panels.items()]
  return Drawing.of("Robustness", caption, paint, tables=tables)
