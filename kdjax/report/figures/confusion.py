"""The confusion matrices of two compared stages, and their difference."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kdjax.report.document import AbsentError, Drawing
from kdjax.report.figures._cells import cells, write
from kdjax.report.figures._classes import class_names, compared, has_classes
from kdjax.report.figures._lines import panels
from kdjax.report.records import Predictions, Record
from kdjax.report.theme import SMALL, Theme, colour, figure, style_axes

ORDER = 60

# Up to this many classes, cells have numbers and axes have names; the second of
# each pair is for the width of a telephone.
NUMBERED, NAMED = (16, 11), (40, 24)

# Mistakes in the list next to the matrices.
LISTED = 10

# In inches: a row of panels.
ROW = 4.1, 3.4

Shares = Float[np.ndarray, "K K"]


def confusion(record: Record, results: dict[str, Any]) -> Drawing:
  """The two stages of the first gain, or the last stage of a run without."""
  found = _found(record, results)
  shares = {}
  for stage, predictions in found.items():
    matrix = counts(predictions)
    # The row of a class without examples is 0.
    shares[stage] = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
  stages, classes = list(found), len(matrix)
  names = class_names(record, classes)
  tints = lambda theme: [colour(record, stage, theme) for stage in stages]

  def paint(theme: Theme) -> Figure:
    count = 4 if len(stages) > 1 else 2
    columns = 1 if theme.narrow else 2
    canvas = figure(ROW[theme.narrow] * count / columns)
    *maps, last = panels(canvas, count, columns)
    title = "{}: percent of each true class"
    for axes, stage, tint in zip(maps, stages, tints(theme), strict=False):
      _matrix(axes, shares[stage], names, (tint, tint), theme)
      _style(axes, title.format(stage), theme)
    if len(stages) > 1:
      worse, better = stages
      difference = shares[better] - shares[worse]
      _matrix(maps[2], difference, names, tints(theme), theme, signed=True)
      _style(maps[2], f"{better} minus {worse}, in percent", theme)
    _mistakes(last, shares, names, tints(theme), theme)
    return canvas

  seeds = len(predictions.logits)
  caption = (
    f"On the test split, counted over {seeds} seed{'s' * (seeds > 1)}: the "
    "percentage of the examples of a true class (row) that is predicted as "
    "each class (column)."
  )
  if len(stages) > 1:
    caption += (
      " The difference has the colour of the stage that predicts a cell more "
      "often; differences below 0.5 are without a number. "
      f"Mistakes: those that {' or '.join(stages)} makes most often."
    )
  return Drawing.of(f"Confusion of {' and '.join(stages)}", caption, paint)


def counts(predictions: Predictions) -> Int[np.ndarray, "K K"]:
  """Confusion counts, true class by predicted class, over all seeds."""
  classes = predictions.logits.shape[-1]
  matrix = np.zeros((classes, classes), np.int64)
  label = predictions.label
  labelled = label >= 0
  for logits in predictions.logits:
    np.add.at(matrix, (label[labelled], logits.argmax(-1)[labelled]), 1)
  return matrix


def _found(record: Record, results: dict[str, Any]) -> dict[str, Predictions]:
  """The worse stage before the better one, or the last stage alone."""
  try:
    better, worse, new, old = compared(record)
    return {worse: old, better: new}
  except AbsentError:
    finished = list(results["stages"])
    last = record.predictions(finished[-1]) if finished else None
    if last is None or not has_classes(last):
      raise AbsentError(
        "Confusion: the last stage has no predictions.npz with class scores."
      ) from None
    return {finished[-1]: last}


def _matrix(
  axes: Axes,
  shares: Shares,
  names: list[str],
  tints,
  theme: Theme,
  *,
  signed: bool = False,
) -> None:
  """Draws a matrix of shares; `tints` are of negative and of positive ones."""
  size = len(names)
  # Small shares differ from none.
  opacity = np.sqrt(np.abs(shares) / max(1e-12, np.abs(shares).max()))
  cells(axes, opacity, np.asarray(tints)[(shares > 0).astype(int)])
  axes.set(aspect="equal", xlabel="predicted", ylabel="true")
  axes.set(xticks=[], yticks=[])
  if size <= NAMED[theme.narrow]:
    turn = 90 if max(map(len, names)) > 3 else 0
    axes.set_xticks(range(size), names, rotation=turn)
    axes.set_yticks(range(size), names)
  if size <= NUMBERED[theme.narrow]:
    points = SMALL if size > 8 else 9
    for cell, share in np.ndenumerate(shares):
      if share:
        words = _percent(share, signed)
        write(axes, cell, words, opacity[cell], theme, points)


def _style(axes: Axes, title: str, theme: Theme) -> None:
  axes.set_anchor("N")
  style_axes(axes, theme, title=title)
  axes.tick_params(labelsize=SMALL + 0.5, pad=3)
  for spine in axes.spines.values():
    spine.set(visible=True, color=theme.line)


def _mistakes(
  axes: Axes,
  shares: Mapping[str, Shares],
  names: list[str],
  tints: list[str],
  theme: Theme,
) -> None:
  """Lists the largest cells off the diagonal, with a dot for each stage."""
  wrong = np.stack(list(shares.values())) * (1 - np.eye(len(names)))
  most = wrong.max(axis=0)
  largest = np.argsort(-most, axis=None, kind="stable")[:LISTED]
  cells = [divmod(int(cell), len(names)) for cell in largest]
  cells = [cell for cell in cells if most[cell] > 0]
  for row, cell in enumerate(cells):
    ends = 100 * wrong[:, *cell]
    axes.plot(
      [0 if len(ends) == 1 else ends.min(), ends.max()],
      [row, row],
      color=theme.line,
      linewidth=2.5,
    )
    axes.scatter(
      ends, [row] * len(ends), s=34, color=tints, zorder=3, clip_on=False
    )
  for stage, tint in zip(shares, tints, strict=True):
    axes.scatter([], [], s=34, color=tint, label=stage)
  words = [f"{names[row]} as {names[column]}" for row, column in cells]
  axes.set_yticks(range(len(cells)), words)
  axes.set(xlim=(0, None), ylim=(LISTED - 0.4, -0.6))
  style_axes(axes, theme, title="most frequent mistakes, in percent", grid="x")
  axes.tick_params(axis="y", colors=theme.ink, labelsize=SMALL + 0.5)
  axes.legend(frameon=False, labelcolor=theme.ink, fontsize=9)


def _percent(share: float, signed: bool) -> str:
  """A share in percent; 0 and 100 only if exact."""
  whole = round(100 * abs(share))
  sign = ("+" if share > 0 else "\N{MINUS SIGN}") if signed else ""
  if whole == 0:
    return "" if signed else "<1"
  return ">99" if abs(share) < 1 and whole == 100 else f"{sign}{whole}"
