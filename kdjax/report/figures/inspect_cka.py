"""CKA of the layers of teacher and student."""

from typing import Any

import numpy as np

from kdjax.report.document import Drawing
from kdjax.report.figures import _inspected
from kdjax.report.records import Record
from kdjax.report.theme import Theme, style_axes

ORDER = 71

CAPTION = (
  "Centred kernel alignment of each layer of the student (column) with each "
  "layer of the other network (row), unbiased, over batches of validation "
  "examples: 1 where one is a rotation and scaling of the other, about 0 "
  "where they are independent. Layers are in order, the input's at the top "
  "and left."
)

# Cells with numbers; more layers have none.
NUMBERED = 12


def inspect_cka(record: Record, results: dict[str, Any]) -> Drawing:
  """A heatmap of layers by layers."""
  del results
  return _inspected.draw(
    record, "cka", "Similarity of layers", CAPTION, _height, _paint
  )


def _height(found, theme: Theme) -> float:
  row = 0.24 if theme.narrow else 0.28
  return 1.7 + row * max(len(found["other"]), 4)


def _paint(canvas, found, theme: Theme) -> None:
  axes = canvas.subplots()
  tints = _inspected.shades(theme.stages[_inspected.RAISES])
  axes.imshow(found["cka"].T, cmap=tints, vmin=0, vmax=1, aspect="auto")
  axes.set(xlabel="student", ylabel=str(found["network"]))
  _inspected.names_on(axes, [*found["student"]], "x", theme)
  _inspected.names_on(axes, [*found["other"]], "y", theme)
  few = len(found["student"]) <= _inspected.columns(theme, NUMBERED, 6)
  for (column, row), value in np.ndenumerate(found["cka"]):
    if few:
      axes.text(
        column,
        row,
        f"{value:.2f}",
        ha="center",
        va="center",
        fontsize=8,
        color=theme.background if value > 0.6 else theme.ink,
      )
  style_axes(axes, theme)
