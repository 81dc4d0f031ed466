"""Channels of the teacher that are general to both modalities."""

from typing import Any

import numpy as np

from kdjax.report.document import Drawing
from kdjax.report.figures import _inspected
from kdjax.report.records import Record
from kdjax.report.theme import Theme, style_axes

ORDER = 75

CAPTION = (
  "Saliency of the channels of the teacher's embedding, the largest first: "
  "how much the squared distance of the teacher's logits to the student's "
  "grows if the channel is permuted over examples. Channels with a large one "
  "carry what both modalities know (modality focusing hypothesis); below 0, "
  "the teacher is nearer to the student without the channel."
)


def inspect_channels(record: Record, results: dict[str, Any]) -> Drawing:
  """Sorted bars, one for each channel."""
  del results
  title = "Modality-general channels"
  return _inspected.draw(record, "channels", title, CAPTION, _height, _paint)


def _height(found, theme: Theme) -> float:
  del found, theme
  return 2.5


def _paint(canvas, found, theme: Theme) -> None:
  axes = canvas.subplots()
  values = np.sort(found["saliency"])[::-1]
  signs = (theme.stages[_inspected.LOWERS], theme.stages[_inspected.RAISES])
  tints = [signs[int(value > 0)] for value in values]
  axes.bar(range(len(values)), values, 0.9, color=tints)
  axes.set(xlabel=f"channels of {found['teacher']}, sorted")
  axes.margins(x=0.01)
  style_axes(axes, theme, title="growth of the distance", grid="y")
