"""Lines with a band over several seeds, and their legend."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kdjax.report.records import Curve
from kdjax.report.theme import Theme


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


def legend(canvas: Figure, panels, theme: Theme) -> None:
  """Draws one legend for all panels, below them."""
  entries = {}
  for axes in panels:
    handles, labels = axes.get_legend_handles_labels()
    entries.update(zip(labels, handles, strict=True))
  canvas.legend(
    entries.values(),
    entries.keys(),
    loc="outside lower center",
    ncols=min(6, len(entries)),
    frameon=False,
    labelcolor=theme.ink,
    fontsize=10,
  )
