"""The confusion matrix of the last stage."""

from typing import Any

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure

from kdjax.report.document import AbsentError, Drawing
from kdjax.report.figures._classes import class_names, has_classes
from kdjax.report.records import Predictions, Record
from kdjax.report.theme import Theme, colour, figure, pale, style_axes

ORDER = 60

# Up to this many classes, cells have numbers and axes have names.
NUMBERED, NAMED = 20, 60

# Mistakes in the list next to the matrix.
LISTED = 10


def confusion(record: Record, results: dict[str, Any]) -> Drawing:
  """The matrix of the last finished stage, and its most frequent mistakes."""
  finished = list(results["stages"])
  predictions = record.predictions(finished[-1]) if finished else None
  if predictions is None or not has_classes(predictions):
    raise AbsentError(
      "Confusion: the last stage has no predictions.npz with class scores."
    )
  stage = finished[-1]
  matrix = counts(predictions)
  rows = matrix.sum(axis=1, keepdims=True)
  # The row of a class without examples is 0.
  shares = matrix / np.maximum(rows, 1)
  names = class_names(record, len(matrix))

  def paint(theme: Theme) -> Figure:
    canvas = figure(4.6)
    left, right = canvas.subplots(1, 2, width_ratios=[1.5, 1])
    tint = colour(record, stage, theme)
    _matrix(left, shares, names, tint, theme)
    _mistakes(right, shares, names, tint, theme)
    return canvas

  count = len(predictions.logits)
  seeds = f"{count} seed{'s' * (count > 1)}"
  caption = (
    f"{stage} on the test split, counted over {seeds}: the percentage of the "
    "examples of a true class (row) that is predicted as each class (column)."
  )
  return Drawing.of(f"Confusion of {stage}", caption, paint)


def counts(predictions: Predictions) -> Int[np.ndarray, "K K"]:
  """Confusion counts, true class by predicted class, over all seeds."""
  classes = predictions.logits.shape[-1]
  matrix = np.zeros((classes, classes), np.int64)
  label = predictions.label
  labelled = label >= 0
  for logits in predictions.logits:
    np.add.at(matrix, (label[labelled], logits.argmax(-1)[labelled]), 1)
  return matrix


def _matrix(
  axes: Axes,
  shares: Float[np.ndarray, "K K"],
  names: list[str],
  tint: str,
  theme: Theme,
) -> None:
  shades = LinearSegmentedColormap.from_list("", [theme.background, tint])
  # The exponent makes rare mistakes visible.
  axes.imshow(shares, cmap=shades, norm=PowerNorm(0.6, 0, 1))
  axes.set(xlabel="predicted", ylabel="true", xticks=[], yticks=[])
  if len(names) <= NAMED:
    turn = 90 if max(map(len, names)) > 3 else 0
    axes.set_xticks(range(len(names)), names, rotation=turn)
    axes.set_yticks(range(len(names)), names)
  if len(names) <= NUMBERED:
    for (row, column), share in np.ndenumerate(shares):
      axes.text(
        column,
        row,
        _percent(share) if share else "",
        ha="center",
        va="center",
        fontsize=9,
        color=theme.background if share > 0.4 else theme.ink,
      )
  axes.set_anchor("N")
  style_axes(axes, theme, title="percent of each true class")
  for spine in axes.spines.values():
    spine.set(visible=True, color=theme.line)


def _mistakes(
  axes: Axes,
  shares: Float[np.ndarray, "K K"],
  names: list[str],
  tint: str,
  theme: Theme,
) -> None:
  """Lists the largest cells off the diagonal."""
  wrong = shares * (1 - np.eye(len(names)))
  largest = np.argsort(-wrong, axis=None, kind="stable")[:LISTED]
  cells = [divmod(int(cell), len(names)) for cell in largest]
  cells = [cell for cell in cells if wrong[cell] > 0]
  values = [wrong[cell] for cell in cells]
  axes.barh(range(len(cells)), values, height=0.62, color=pale(tint, theme))
  for row, value in enumerate(values):
    axes.annotate(
      f"{_percent(value)} %",
      (value, row),
      xytext=(5, 0),
      textcoords="offset points",
      va="center",
      color=theme.ink,
      fontsize=9,
    )
  words = [f"{names[row]} as {names[column]}" for row, column in cells]
  axes.set_yticks(range(len(cells)), words)
  axes.set(xticks=[], ylim=(LISTED - 0.5, -0.5))
  style_axes(axes, theme, title="most frequent mistakes")
  axes.tick_params(axis="y", colors=theme.ink)


def _percent(share: float) -> str:
  """A share in percent; 0 and 100 only if exact."""
  whole = round(100 * share)
  if share > 0 and whole == 0:
    return "<1"
  return ">99" if share < 1 and whole == 100 else str(whole)
