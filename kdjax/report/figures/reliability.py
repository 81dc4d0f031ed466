"""Reliability diagram: accuracy by confidence, of each stage."""

from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from kdjax.report.document import AbsentError, Drawing
from kdjax.report.figures._classes import classified, probabilities
from kdjax.report.figures._lines import legend, legend_rows, panels
from kdjax.report.records import Predictions, Record
from kdjax.report.selection import ranked
from kdjax.report.theme import (
  Theme,
  colour,
  figure,
  line_style,
  style_axes,
)

ORDER = 44

# Bins of equal width between 0 and 1; those with fewer predictions are left
# out of the diagram.
BINS, LEAST = 10, 10


def reliability(record: Record, results: dict[str, Any]) -> Drawing:
  """Accuracy by confidence, and how many predictions have which confidence."""
  hidden = ranked(results)
  found = {
    stage: binned(it)
    for stage, it in classified(record).items()
    if stage not in hidden
  }
  if not found:
    # The task has no classes.
    raise AbsentError("")

  def paint(theme: Theme) -> Figure:
    rows = legend_rows(found, theme)
    canvas = figure((6.2 if theme.narrow else 3.2) + 0.27 * rows)
    left, right = panels(canvas, 2, 1 if theme.narrow else 2)
    left.plot([0, 1], [0, 1], color=theme.muted, linewidth=1)
    for stage, (count, confidence, accuracy) in found.items():
      look = {
        "color": colour(record, stage, theme),
        "linestyle": line_style(record, stage),
      }
      many = count >= LEAST
      left.plot(
        confidence[many],
        accuracy[many],
        marker="o",
        markersize=4,
        linewidth=1.6,
        label=stage,
        **look,
      )
      edges = np.linspace(0, 1, BINS + 1)
      right.stairs(count / count.sum(), edges, linewidth=1.6, **look)
    left.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="confidence")
    right.set(xlim=(0, 1.02), xlabel="confidence")
    right.set_ylim(bottom=0)
    style_axes(left, theme, title="accuracy by confidence", grid="both")
    style_axes(right, theme, title="share of the predictions", grid="y")
    legend(canvas, [left], theme)
    return canvas

  caption = (
    "The confidence is the largest probability of the softmax. Left, or above: "
    f"in each of {BINS} bins of confidence, the mean confidence and the "
    "accuracy on the test split, all seeds together. Below the diagonal a "
    "student is too confident. Bins with fewer than "
    f"{LEAST} predictions are left out."
  )
  return Drawing.of("Reliability", caption, paint)


def binned(
  predictions: Predictions,
) -> tuple[
  Float[np.ndarray, "bins"],
  Float[np.ndarray, "bins"],
  Float[np.ndarray, "bins"],
]:
  """Predictions, their mean confidence and their accuracy in each bin.

  A bin is open below and closed above, as in `kdjax/metrics/calibration.py`.
  Means of an empty bin are 0.
  """
  labelled = predictions.label >= 0
  p = probabilities(predictions.logits[:, labelled])
  confidence = p.max(-1).ravel()
  right = (p.argmax(-1) == predictions.label[labelled]).ravel()
  bins = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
  total = lambda weights: np.bincount(bins, weights, BINS)
  count = total(np.ones(len(bins)))
  several = np.maximum(count, 1)
  return count, total(confidence) / several, total(right) / several
