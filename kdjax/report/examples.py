"""The figure of what a stage puts right: test images, with both predictions."""

import inspect
import textwrap
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from matplotlib.figure import Figure

from kdjax import registry
from kdjax.report.confusion import class_names, data_options, has_classes
from kdjax.report.records import Predictions, Record
from kdjax.report.theme import WIDTH, AbsentError, Drawing, Theme, colour

COLUMNS, ROWS = 6, 2

# In inches.
IMAGE, LINE_HEIGHT = 1.25, 0.165

# Characters that fit below an image.
LINE = 22


def examples(record: Record, results: dict[str, Any]) -> Drawing:
  """Test images that the worse stage of a gain gets wrong, the better right."""
  del results
  better, worse, new, old = _pair(record)
  before, after = votes(old.logits), votes(new.logits)
  known, label = new.label >= 0, new.label
  won = np.flatnonzero(known & (after == label) & (before != label))
  lost = np.flatnonzero(known & (before == label) & (after != label))
  if not len(won):
    raise AbsentError(f"Put right: no example is right by {better} alone.")
  # First those that most seeds put right.
  hits = [(kept.logits.argmax(-1) == label).sum(0)[won] for kept in (old, new)]
  shown = won[np.argsort(hits[0] - hits[1], kind="stable")][: COLUMNS * ROWS]
  images, texts = _load(record, better, new.index, shown)
  names = class_names(record, new.logits.shape[-1])

  def draw(theme: Theme) -> Figure:
    sheet = _Sheet(len(shown), texts)
    for place, at in enumerate(shown):
      lines = [
        (f"true {names[label[at]]}", theme.ink),
        (f"{worse} {names[before[at]]}", colour(record, worse, theme)),
        (f"{better} {names[after[at]]}", colour(record, better, theme)),
      ]
      lines += [(line, theme.muted) for line in _wrap(texts[place])]
      sheet.add(place, _scaled(images)[place], lines)
    return sheet.canvas

  caption = (
    f"Of {known.sum()} test examples, {len(won)} are wrong by {worse} and "
    f"right by {better}, and {len(lost)} the other way, by majority over "
    f"{len(new.logits)} seed{'s' * (len(new.logits) > 1)}."
  )
  if len(shown) < len(won):
    caption += f" Shown: the {len(shown)} on which most seeds differ."
  if any(texts):
    caption += " In grey: the text that comes with the image."
  return Drawing.of("examples", f"Put right by {better}", caption, draw)


def votes(logits: Float[np.ndarray, "S N K"]) -> Int[np.ndarray, "N"]:
  """The class that most seeds predict; of two, the one more probable."""
  logits = np.asarray(logits, np.float64)
  odds = np.exp(logits - logits.max(-1, keepdims=True))
  probability = (odds / odds.sum(-1, keepdims=True)).mean(0)
  ballots = np.eye(logits.shape[-1])[logits.argmax(-1)].sum(0)
  # Half a probability never outweighs a ballot.
  return (ballots + 0.5 * probability).argmax(-1)


def _pair(record: Record) -> tuple[str, str, Predictions, Predictions]:
  """The first gain whose two stages predict classes of the same examples."""
  for better, worse in record.config["gains"]:
    new, old = record.predictions(better), record.predictions(worse)
    if new is None or old is None or not has_classes(new):
      continue
    same = np.array_equal(new.index, old.index)
    if same and new.logits.shape[1:] == old.logits.shape[1:]:
      return better, worse, new, old
  raise AbsentError(
    "Put right: no two stages of a gain have classes to compare."
  )


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
    found = _take(source, index, shown)
    texts = _texts(data, options, index[shown])
  except Exception as error:
    # Data sets are anybody's code and may be gone from this machine; a report
    # without its pictures is worth more than none.
    raise AbsentError(
      f"Put right: '{name}' does not load ({error})."
    ) from error
  images = found.get("image")
  if images is None or images.ndim not in (3, 4):
    raise AbsentError(f"Put right: '{name}' has no images.")
  return np.asarray(images), texts


def _take(source, index, shown) -> dict[str, np.ndarray]:
  """Rows by their index, whatever the order in which they were predicted."""
  if max(shown) < len(source):
    found = source.take(shown)
    if np.array_equal(found["index"], index[shown]):
      return found
  places = source.take(np.arange(len(source)))["index"]
  place_of = {int(value): place for place, value in enumerate(places)}
  return source.take(np.asarray([place_of[int(at)] for at in index[shown]]))


def _texts(data, options, index) -> list[str]:
  """What a data set can say of its examples, if it has `hints` by index."""
  if not hasattr(data, "hints"):
    return [""] * len(index)
  known = inspect.signature(data.hints).parameters
  hints = data.hints(
    **{key: value for key, value in options.items() if key in known}
  )
  return [hints[at] for at in index]


class _Sheet:
  """A grid of images with lines of words below each."""

  def __init__(self, count: int, texts: list[str]):
    lines = 3 + max(len(_wrap(text)) for text in texts)
    self.rows = -(-count // COLUMNS)
    self.height = IMAGE + LINE_HEIGHT * (lines + 1.5)  # of a row
    self.canvas = Figure(figsize=(WIDTH, self.rows * self.height))

  def add(self, place: int, image: np.ndarray, lines) -> None:
    """An image at a place, and (line, colour)s."""
    row, column = divmod(place, COLUMNS)
    wide, high = WIDTH, self.rows * self.height
    left = (column + 0.5) * WIDTH / COLUMNS - IMAGE / 2
    bottom = high - row * self.height - IMAGE
    axes = self.canvas.add_axes(
      (left / wide, bottom / high, IMAGE / wide, IMAGE / high)
    )
    axes.set_axis_off()
    axes.imshow(image, cmap="gray", vmin=0, vmax=1)
    for number, (line, tint) in enumerate(lines):
      self.canvas.text(
        left / wide,
        (bottom - LINE_HEIGHT * (number + 1.1)) / high,
        line if len(line) <= LINE else f"{line[: LINE - 1]}…",
        fontsize=8.5,
        color=tint,
      )


def _scaled(images: np.ndarray) -> Float[np.ndarray, "M ..."]:
  """Images from 0 to 1, on a scale that all of them share."""
  low, high = float(images.min()), float(images.max())
  if images.dtype == np.uint8:
    low, high = 0.0, 255.0
  elif low >= 0 and high <= 1:
    low, high = 0.0, 1.0
  images = (images.astype(np.float64) - low) / max(high - low, 1e-12)
  colours = images.ndim == 4 and images.shape[-1] in (3, 4)
  # Channels that are no colours, such as spectra, are averaged.
  return images if colours or images.ndim == 3 else images.mean(-1)


def _wrap(text: str) -> list[str]:
  return textwrap.wrap(text, LINE)
