"""Where teacher and student disagree."""

from typing import Any

import numpy as np

from kdjax.report.document import Drawing
from kdjax.report.figures import _inspected
from kdjax.report.figures._cells import cells, write
from kdjax.report.records import Record
from kdjax.report.theme import Theme, style_axes

ORDER = 77

CAPTION = (
  "Predictions of the student (column) by those of the teacher (row) on "
  "validation examples, or the most frequent pairs that differ where there "
  "are many classes; who is right; and the examples whose predictions differ "
  "most, by Jensen-Shannon divergence."
)

# Classes of a matrix; of more, a list of so many pairs.
MATRIX, LISTED = 16, 8
WHO = ("both right", "teacher alone", "student alone", "both wrong")

# In inches.
COUNTS, NARROW_COUNTS, SHEET, LINE_HEIGHT = 3.5, 5.2, 1.9, 0.24


def inspect_disagreement(record: Record, results: dict[str, Any]) -> Drawing:
  """A matrix or list of predictions, who is right, and examples."""
  del results
  title = "Where teacher and student disagree"
  return _inspected.draw(
    record, "disagreement", title, CAPTION, _height, _paint
  )


def _kind(found) -> tuple[str, str]:
  """The modality that examples are drawn by, and its kind; "" without one."""
  kinds = {
    key.split("/")[1]: str(found[key])
    for key in found
    if key.startswith("shown/") and key.endswith("/kind")
  }
  for wanted in ("image", "map", "vector", "text"):
    for key, kind in kinds.items():
      if kind == wanted:
        return key, kind
  return "", ""


def _heights(found, theme: Theme) -> list[float]:
  narrow = theme.narrow
  top = NARROW_COUNTS if narrow else COUNTS
  key, kind = _kind(found)
  if not kind:
    return [top]
  if kind == "text":
    lines = [
      1.4 + len(_inspected.lines_of(_inspected.seen(it), theme))
      for it in found[f"shown/{key}/value"]
    ]
    return [top, 0.2 + LINE_HEIGHT * sum(lines)]
  return [top, SHEET * (2 if narrow else 1)]


def _height(found, theme: Theme) -> float:
  return sum(_heights(found, theme))


def _paint(canvas, found, theme: Theme) -> None:
  heights = _heights(found, theme)
  blocks = canvas.subfigures(
    len(heights), 1, height_ratios=heights, squeeze=False
  )[:, 0]
  for block in blocks:
    block.set_facecolor(theme.background)
  shape = (2, 1) if theme.narrow else (1, 2)
  ratios = (
    {"height_ratios": [2.2, 1]} if shape[0] > 1 else {"width_ratios": [1.5, 1]}
  )
  left, right = blocks[0].subplots(*shape, **ratios)
  if len(found["classes"]) <= MATRIX:
    _matrix(left, found, theme)
  else:
    _pairs(left, found, theme)
  _who(right, found, theme)
  if len(blocks) > 1:
    _examples(blocks[1], found, theme)


def _matrix(axes, found, theme: Theme) -> None:
  matrix = found["confusion"]
  rows = np.maximum(matrix.sum(1, keepdims=True), 1)
  opacity = np.sqrt(matrix / rows)
  cells(axes, opacity, theme.stages[_inspected.RAISES])
  names = [str(it)[:14] for it in found["classes"]]
  _inspected.names_on(axes, names, "x", theme)
  _inspected.names_on(axes, names, "y", theme)
  for cell, count in np.ndenumerate(matrix):
    if count:
      write(axes, cell, str(count), opacity[cell], theme)
  axes.set(xlabel="student", ylabel=str(found["teacher"]))
  style_axes(axes, theme)


def _pairs(axes, found, theme: Theme) -> None:
  matrix = found["confusion"] * (1 - np.eye(len(found["classes"]), dtype=int))
  largest = np.argsort(-matrix, axis=None, kind="stable")[:LISTED]
  cells = [divmod(int(it), len(matrix)) for it in largest]
  cells = [cell for cell in cells if matrix[cell]]
  names = found["classes"]
  words = [f"{names[a]} / {names[b]}"[:34] for a, b in cells]
  tint = theme.stages[_inspected.RAISES]
  axes.barh(range(len(cells)), [matrix[it] for it in cells], 0.6, color=tint)
  axes.set_yticks(range(len(cells)), words)
  axes.invert_yaxis()
  style_axes(axes, theme, title="teacher / student, examples", grid="x")


def _who(axes, found, theme: Theme) -> None:
  counts = found["counts"]
  axes.barh(range(4), counts, 0.6, color=theme.stages[_inspected.RAISES])
  for row, count in enumerate(counts):
    axes.annotate(
      f"{count:,}",
      (count, row),
      xytext=(4, 0),
      textcoords="offset points",
      va="center",
      color=theme.ink,
      fontsize=9,
    )
  axes.set_yticks(range(4), WHO)
  axes.set(xticks=[], xlim=(0, 1.2 * max(counts.max(), 1)), ylim=(3.6, -0.6))
  style_axes(axes, theme, title="who is right")


def _examples(canvas, found, theme: Theme) -> None:
  key, kind = _kind(found)
  values = found[f"shown/{key}/value"]
  if kind == "text":
    words = [_inspected.seen(it) for it in values]
    ratios = [len(_inspected.lines_of(it, theme)) for it in words]
    panels = canvas.subplots(
      len(values), 1, squeeze=False, height_ratios=ratios
    )[:, 0]
    for row, (axes, line) in enumerate(zip(panels, words, strict=True)):
      _inspected.text(axes, line, np.zeros(len(line)), theme)
      said = ", ".join(_said(found, row))
      axes.set_title(said, color=theme.muted, fontsize=8, loc="left", pad=2)
    return
  across = _inspected.columns(theme, 6, 3)
  panels = canvas.subplots(6 // across, across, squeeze=False).flatten()
  for row, axes in enumerate(panels):
    if row >= len(values):
      axes.set_axis_off()
      continue
    _inspected.picture(axes, kind, values[row], theme)
    axes.set(xticks=[], yticks=[])
    _inspected.bare(axes, theme)
    said = "\n".join(_said(found, row))
    axes.set_title(said, color=theme.ink, fontsize=7.5, loc="left", pad=3)


def _said(found, row: int) -> list[str]:
  """The label and the two predictions of an example, with probabilities."""
  names = found["classes"]
  lines = [
    f"{who} {str(names[found[f'shown/{who}'][row]])[:12]}"
    f" {found[f'shown/certain_{who}'][row]:.2f}"
    for who in ("teacher", "student")
  ]
  label = int(found["shown/label"][row])
  known = [f"true {str(names[label])[:12]}"] if label >= 0 else []
  return [*known, *lines]
