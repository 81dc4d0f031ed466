"""Reliability before and after temperature scaling."""

from typing import Any

import numpy as np

from kdjax.report.document import Drawing
from kdjax.report.figures import _inspected
from kdjax.report.records import Record
from kdjax.report.theme import Theme, style_axes

ORDER = 78

CAPTION = (
  "Accuracy of the test examples of each interval of confidence, before and "
  "after dividing the logits by a temperature T that has the least negative "
  "log-likelihood on validation. On the dashed line confidence is accuracy. "
  "Larger dots are more examples."
)

# Dots of fewer examples are noise.
FEW = 5


def inspect_calibration(record: Record, results: dict[str, Any]) -> Drawing:
  """A reliability diagram for each network."""
  del results
  title = "Calibration and temperature"
  return _inspected.draw(record, "calibration", title, CAPTION, _height, _paint)


def _across(found, theme: Theme) -> int:
  return _inspected.columns(theme, min(max(len(found["networks"]), 2), 3))


def _height(found, theme: Theme) -> float:
  return 3.5 * -(-len(found["networks"]) // _across(found, theme))


def _paint(canvas, found, theme: Theme) -> None:
  networks, across = [*found["networks"]], _across(found, theme)
  rows = -(-len(networks) // across)
  panels = canvas.subplots(rows, across, squeeze=False).flatten()
  for axes in panels[len(networks) :]:
    axes.set_axis_off()
  for axes, name in zip(panels, networks, strict=False):
    axes.plot((0, 1), (0, 1), "--", color=theme.muted, linewidth=1)
    best = float(found[f"{name}/temperature"])
    for state, label in enumerate(("T = 1", f"T = {best:.2f}")):
      kept = found[f"{name}/rows"][state] >= FEW
      confidence, accuracy, count = (
        found[f"{name}/{key}"][state][kept]
        for key in ("confidence", "accuracy", "rows")
      )
      ece = found[f"{name}/ece"][state]
      tint = theme.stages[(_inspected.LOWERS, _inspected.RAISES)[state]]
      axes.plot(confidence, accuracy, color=tint, linewidth=1)
      size = 8 + 60 * count / max(np.max(count, initial=1), 1)
      axes.scatter(
        confidence,
        accuracy,
        s=size,
        color=tint,
        label=f"{label}, ECE {ece:.3f}",
        zorder=3,
      )
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="confidence")
    axes.legend(frameon=False, labelcolor=theme.ink, fontsize=8.5)
    style_axes(axes, theme, title=f"{name}: accuracy", grid="y")
