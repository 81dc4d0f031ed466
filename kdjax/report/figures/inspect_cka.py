"""CKA of the layers of teacher and student."""

from typing import Any

import numpy as np

from kdjax.report.document import Drawing
from kdjax.report.figures import _inspected
from kdjax.report.figures._cells import cells, write
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
  matrix = np.clip(np.nan_to_num(found["cka"].T), 0.0, 1.0)
  cells(axes, matrix, theme.stages[_inspected.RAISES])
  axes.set(xlabel="student", ylabel=str(found["network"]))
  _inspected.names_on(axes, [*found["student"]], "x", theme)
  _inspected.names_on(axes, [*found["other"]], "y", theme)
  few = len(found["student"]) <= _inspected.columns(theme, NUMBERED, 6)
  for cell, value in np.ndenumerate(found["cka"].T):
    if few:
      write(axes, cell, f"{value:.2f}", matrix[cell], theme)
  style_axes(axes, theme)
