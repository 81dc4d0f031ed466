"""Lines with a band over several seeds, and their legend."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kdjax.report.records import Curve
from kdjax.report.theme import Theme

# In inches: of an entry of a legend besides its words, and of a character.
ENTRY, CHARACTER = 0.62, 0.085


def band(axes: Axes, curve: Curve, **style) -> None:
  """Draws the mean over seeds, and a band of one deviation on either side.

  Args:
    axes: where to draw.
    curve: the values of every seed.
    **style: of the line; has `color`.
  """
  steps, means, deviations = [], [], []
  for step in sorted(set().union(*curve.values())):
    values = [seed[step] for seed in curve.values() if step in seed]
    values = [value for value in values if np.isfinite(value)]
    if values:
      steps.append(step)
      means.append(np.mean(values))
      deviations.append(np.std(values, ddof=1) if len(values) > 1 else 0.0)
  means, deviations = np.asarray(means), np.asarray(deviations)
  axes.plot(steps, means, linewidth=1.8, **style)
  low, high = means - deviations, means + deviations
  axes.fill_between(
    steps, low, high, color=style["color"], alpha=0.2, linewidth=0
  )


def panels(canvas: Figure, count: int, columns: int) -> list[Axes]:
  """As many axes as there are panels, in rows.

  Args:
    canvas: the figure.
    count: of panels.
    columns: at most, next to each other.
  """
  columns = min(columns, count)
  rows = -(-count // columns)
  all_axes = canvas.subplots(rows, columns, squeeze=False).flatten()
  for axes in all_axes[count:]:
    axes.set_visible(False)
  return [*all_axes[:count]]


def legend(canvas: Figure, panels, theme: Theme) -> None:
  """Draws one legend for all panels, below them."""
  entries = {}
  for axes in panels:
    handles, labels = axes.get_legend_handles_labels()
    entries.update(zip(labels, handles, strict=True))
  if not entries:
    return
  canvas.legend(
    entries.values(),
    entries.keys(),
    loc="outside lower center",
    ncols=_columns(entries, theme),
    frameon=False,
    labelcolor=theme.ink,
    fontsize=9.5,
  )


def legend_rows(labels, theme: Theme) -> int:
  """The rows of the legend with these labels."""
  return -(-len(labels) // _columns(labels, theme)) if labels else 0


def _columns(labels, theme: Theme) -> int:
  longest = ENTRY + CHARACTER * max(map(len, labels))
  return max(1, min(len(labels), int(theme.width / longest)))
