"""Test images that the better stage of a gain corrects."""

import textwrap
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from matplotlib.figure import Figure

from kdjax.report.document import AbsentError, Drawing
from kdjax.report.figures import _sheet
from kdjax.report.figures._classes import class_names, compared, probabilities
from kdjax.report.figures._sheet import IMAGE, LINE_HEIGHT
from kdjax.report.records import Record
from kdjax.report.theme import Theme, colour

ORDER = 50

COLUMNS, ROWS = 6, 2

# Columns for the width of a telephone.
NARROW = 2

# Characters of a line below an image.
LINE = 22


def examples(record: Record, results: dict[str, Any]) -> Drawing:
  """Test images that the worse stage classifies wrong, the better one right."""
  del results
  try:
    better, worse, new, old = compared(record)
  except AbsentError:
    raise AbsentError(
      "Corrected: no gain compares two stages that predict classes."
    ) from None
  before, after = votes(old.logits), votes(new.logits)
  labelled, label = new.label >= 0, new.label
  won = np.flatnonzero(labelled & (after == label) & (before != label))
  lost = np.flatnonzero(labelled & (before == label) & (after != label))
  if not len(won):
    raise AbsentError(f"Corrected: no example is right by {better} alone.")
  # First those that most seeds correct.
  hits = [(it.logits.argmax(-1) == label).sum(0)[won] for it in (old, new)]
  shown = won[np.argsort(hits[0] - hits[1], kind="stable")][: COLUMNS * ROWS]
  columns, data, options = _sheet.load(
    "Corrected", record, better, new.index, shown
  )
  images = _sheet.images_of(columns)
  if images is None:
    raise AbsentError("Corrected: the data set has no images.")
  texts = _sheet.hints(data, options, new.index[shown])
  names = class_names(record, new.logits.shape[-1])

  def paint(theme: Theme) -> Figure:
    sheet = _Sheet(len(shown), texts, theme)
    for number, row in enumerate(shown):
      lines = [
        (f"true {names[label[row]]}", theme.ink),
        (f"{worse} {names[before[row]]}", colour(record, worse, theme)),
        (f"{better} {names[after[row]]}", colour(record, better, theme)),
      ]
      lines += [(line, theme.muted) for line in _wrap(texts[number])]
      sheet.add(number, images[number], lines)
    return sheet.canvas

  caption = (
    f"Of {labelled.sum()} test examples, {len(won)} are classified wrong by "
    f"{worse} and right by {better}, and {len(lost)} the reverse, by majority "
    f"vote over {len(new.logits)} seed{'s' * (len(new.logits) > 1)}."
  )
  if len(shown) < len(won):
    caption += f" Shown: the {len(shown)} on which most seeds differ."
  if any(texts):
    caption += " Grey: the text of the example."
  return Drawing.of(f"Corrected by {better}", caption, paint)


def votes(logits: Float[np.ndarray, "S N K"]) -> Int[np.ndarray, "N"]:
  """The class that most seeds predict; of equals, the most probable one."""
  probability = probabilities(logits).mean(0)
  ballots = np.eye(logits.shape[-1])[logits.argmax(-1)].sum(0)
  # Half a probability is always less than one vote.
  return (ballots + 0.5 * probability).argmax(-1)


class _Sheet:
  """A grid of images with lines of text below each."""

  def __init__(self, count: int, texts: list[str], theme: Theme):
    lines = 3 + max(len(_wrap(text)) for text in texts)
    self.width, self.columns = theme.width, NARROW if theme.narrow else COLUMNS
    self.rows = -(-count // self.columns)
    self.height = IMAGE + LINE_HEIGHT * (lines + 1.5)  # of a row
    self.canvas = Figure(figsize=(self.width, self.rows * self.height))

  def add(self, number: int, image: np.ndarray, lines) -> None:
    """Draws the image with a number, and its (line, colour) pairs."""
    row, column = divmod(number, self.columns)
    wide, high = self.width, self.rows * self.height
    left = (column + 0.5) * wide / self.columns - IMAGE / 2
    bottom = high - row * self.height - IMAGE
    axes = self.canvas.add_axes(
      (left / wide, bottom / high, IMAGE / wide, IMAGE / high)
    )
    _sheet.draw(axes, image)
    for position, (line, tint) in enumerate(lines):
      self.canvas.text(
        left / wide,
        (bottom - LINE_HEIGHT * (position + 1.1)) / high,
        _sheet.cut(line, LINE),
        fontsize=_sheet.TEXT,
        color=tint,
      )


def _wrap(text: str) -> list[str]:
  return textwrap.wrap(text, LINE)
