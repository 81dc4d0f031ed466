"""Which modality decided: Shapley values of a network that joins several."""

from typing import Any

import numpy as np

from kdjax.report.document import Drawing
from kdjax.report.figures import _inspected
from kdjax.report.records import Record
from kdjax.report.theme import Theme, style_axes

ORDER = 74

CAPTION = (
  "Exact Shapley values of the modalities of a network that joins them, for "
  "the probability of the class that it predicts: what a modality adds on "
  "average over all orders of adding modalities. Left: mean by predicted "
  "class; the sum of a row is the probability less that without any modality. "
  "Right: the share of examples in which each modality has the largest value."
)

# A longer list of classes is cut.
CLASSES = 20


def inspect_modalities(record: Record, results: dict[str, Any]) -> Drawing:
  """Bars by class, and the share of examples that each modality decides."""
  del results
  return _inspected.draw(
    record, "modalities", "Which modality decided", CAPTION, _height, _paint
  )


def _rows(found) -> list[int]:
  """The most frequent predicted classes."""
  counts = np.bincount(found["predicted"], minlength=len(found["classes"]))
  most = np.argsort(-counts, kind="stable")[:CLASSES]
  return sorted(int(it) for it in most if counts[it])


def _height(found, theme: Theme) -> float:
  high = 1.4 + 0.27 * max(len(_rows(found)), 3)
  return high + 1.7 if theme.narrow else high


def _paint(canvas, found, theme: Theme) -> None:
  if theme.narrow:
    ratios = [_height(found, theme) - 1.7, 1.7]
    left, right = canvas.subplots(2, 1, height_ratios=ratios)
  else:
    left, right = canvas.subplots(1, 2, width_ratios=[1.8, 1])
  rows, names = _rows(found), [*found["modalities"]]
  width = 0.8 / len(names)
  for place, name in enumerate(names):
    tint = theme.stages[place % len(theme.stages)]
    means = [
      found["shapley"][found["predicted"] == row, place].mean() for row in rows
    ]
    at = np.arange(len(rows)) - 0.4 + (place + 0.5) * width
    left.barh(at, means, 0.9 * width, color=tint, label=name)
  left.axvline(0, color=theme.muted, linewidth=0.8)
  classes = [str(found["classes"][row])[:16] for row in rows]
  left.set_yticks(range(len(rows)), classes)
  left.invert_yaxis()
  left.set(xlabel="Shapley value (probability)")
  left.legend(
    frameon=False,
    labelcolor=theme.ink,
    fontsize=9,
    ncols=len(names),
    loc="lower left",
    bbox_to_anchor=(0, 1),
  )
  style_axes(left, theme, grid="x")
  _decided(right, found, names, theme)


def _decided(axes, found, names, theme: Theme) -> None:
  values = found["shapley"]
  share = np.bincount(values.argmax(1), minlength=len(names)) / len(values)
  tints = [theme.stages[it % len(theme.stages)] for it in range(len(names))]
  axes.barh(range(len(names)), share, 0.6, color=tints)
  for row, value in enumerate(share):
    axes.annotate(
      f"{100 * value:.0f} %",
      (value, row),
      xytext=(4, 0),
      textcoords="offset points",
      va="center",
      color=theme.ink,
      fontsize=9,
    )
  axes.set_yticks(range(len(names)), names)
  axes.set(xticks=[], xlim=(0, 1.15), ylim=(len(names) - 0.4, -0.6))
  style_axes(axes, theme, title=f"{found['network']} decides by")
