"""The gain of each class: the share of its examples predicted right."""

from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kdjax.report import intervals
from kdjax.report.document import Drawing
from kdjax.report.figures import _points
from kdjax.report.figures._classes import class_names, compared
from kdjax.report.numbers import of_known
from kdjax.report.records import Predictions, Record
from kdjax.report.theme import Theme, colour, figure, style_axes

ORDER = 62

# Of more classes, as many with the largest and with the smallest gain.
ALL, SHOWN = 30, 12

# In inches, of a row.
ROW = 0.3


def classes(record: Record, results: dict[str, Any]) -> Drawing:
  """A row for each class, by its gain."""
  del results
  better, worse, new, old = compared(record)
  names = class_names(record, new.logits.shape[-1])
  both = [recall(it) for it in (new, old)]
  count = min(len(it) for it in both)
  gains = both[0][:count] - both[1][:count]
  known = np.flatnonzero(np.isfinite(gains).all(axis=0))
  order = known[np.argsort(-gains[:, known].mean(axis=0), kind="stable")]
  if len(order) > ALL:
    order = np.concatenate([order[:SHOWN], order[-SHOWN:]])

  def paint(theme: Theme) -> Figure:
    canvas = figure(0.7 + ROW * len(order))
    axes = canvas.subplots()
    _rows(axes, gains[:, order], colour(record, better, theme), theme)
    axes.set_yticks(range(len(order)), [names[at] for at in order])
    title = f"gain in recall, {better} over {worse}"
    style_axes(axes, theme, title=title, grid="x")
    axes.tick_params(axis="y", colors=theme.ink)
    return canvas

  caption = (
    "The share of a class's test examples that is predicted right (its "
    f"recall), {better} minus {worse} with the same seed. Large dot: mean over "
    "seeds; line: its 95 % interval (Student's); each small dot is a seed."
  )
  if len(known) > ALL:
    caption += f" The {SHOWN} classes that gain most and least of {len(known)}."
  return Drawing.of("Gain of each class", caption, paint)


def recall(predictions: Predictions) -> Float[np.ndarray, "S K"]:
  """Each class's recall; NaN without an example of it."""
  count = predictions.logits.shape[-1]
  known = predictions.label >= 0
  label = predictions.label[known]
  total = np.bincount(label, minlength=count)
  hits = [
    np.bincount(label[label == predicted], minlength=count)
    for predicted in predictions.logits.argmax(-1)[:, known]
  ]
  with np.errstate(invalid="ignore"):
    return np.asarray(hits) / total


def _rows(axes: Axes, gains, tint: str, theme: Theme) -> None:
  axes.axvline(0, color=theme.muted, linewidth=1)
  for height, values in enumerate(gains.T):
    ends = intervals.of_mean(values)["interval"]
    _points.row(axes, height, of_known(values), ends, tint, size=5.5)
  _points.scale(axes, gains.shape[1], signed=True)
