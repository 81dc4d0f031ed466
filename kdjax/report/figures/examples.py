"""Test images that the better stage of a gain corrects."""

import inspect
import textwrap
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from matplotlib.figure import Figure

from kdjax import registry
from kdjax.report.document import AbsentError, Drawing
from kdjax.report.figures._classes import (
  class_names,
  compared,
  data_options,
  probabilities,
)
from kdjax.report.records import Record
from kdjax.report.theme import Theme, colour

ORDER = 50

COLUMNS, ROWS = 6, 2

# Columns for the width of a telephone.
NARROW = 2

# The most pixels of an image's side on the page.
PIXELS = 160

# In inches.
IMAGE, LINE_HEIGHT = 1.25, 0.165

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
  images, texts = _load(record, better, new.index, shown)
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
      sheet.add(number, _scaled(images)[number], lines)
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


def _load(
  record: Record,
  stage: str,
  index: Int[np.ndarray, "N"],
  shown: Int[np.ndarray, "M"],
) -> tuple[np.ndarray, list[str]]:
  """The images of some rows of the test split, and their texts or ""s."""
  name, options = data_options(record, stage)
  try:
    data = registry.find("data", name)
    source = data.load("test", seed=None, **options)
    columns = _take(source, index, shown)
    texts = _texts(data, options, index[shown])
  except Exception as error:
    # A data set is anybody's code and may be missing on this machine. The rest
    # of the report does not need it.
    raise AbsentError(
      f"Corrected: the data set '{name}' does not load ({error})."
    ) from error
  images = columns.get("image")
  if images is None or images.ndim not in (3, 4):
    raise AbsentError(f"Corrected: the data set '{name}' has no images.")
  return np.asarray(images), texts


def _take(source, index, shown) -> dict[str, np.ndarray]:
  """Records by the index of their predictions, in any order of the source."""
  if max(shown) < len(source):
    columns = source.take(shown)
    if np.array_equal(columns["index"], index[shown]):
      return columns
  all_indices = source.take(np.arange(len(source)))["index"]
  position_of = {int(value): at for at, value in enumerate(all_indices)}
  positions = [position_of[int(value)] for value in index[shown]]
  return source.take(np.asarray(positions))


def _texts(data, options, index) -> list[str]:
  """The hint of each example, or "" if the data set defines no `hints`."""
  if not hasattr(data, "hints"):
    return [""] * len(index)
  accepted = inspect.signature(data.hints).parameters
  hints = data.hints(
    **{key: value for key, value in options.items() if key in accepted}
  )
  return [hints[at] for at in index]


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
    axes.set_axis_off()
    # As it is: the page enlarges it.
    axes.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="none")
    for position, (line, tint) in enumerate(lines):
      self.canvas.text(
        left / wide,
        (bottom - LINE_HEIGHT * (position + 1.1)) / high,
        line if len(line) <= LINE else f"{line[: LINE - 1]}…",
        fontsize=8.5,
        color=tint,
      )


def _scaled(images: np.ndarray) -> Float[np.ndarray, "M ..."]:
  """Images from 0 to 1, all on the same scale."""
  low, high = float(images.min()), float(images.max())
  if images.dtype == np.uint8:
    low, high = 0.0, 255.0
  elif low >= 0 and high <= 1:
    low, high = 0.0, 1.0
  images = (images.astype(np.float64) - low) / max(high - low, 1e-12)
  colours = images.ndim == 4 and images.shape[-1] in (3, 4)
  # Channels that are no colours, such as spectra, are averaged.
  images = images if colours or images.ndim == 3 else images.mean(-1)
  # Every so many pixels: the page does not show more.
  every = max(1, -(-max(images.shape[1:3]) // PIXELS))
  return images[:, ::every, ::every]


def _wrap(text: str) -> list[str]:
  return textwrap.wrap(text, LINE)
