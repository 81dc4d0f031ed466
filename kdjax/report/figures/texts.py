"""Texts that the stages write about test examples, beside the right ones."""

import textwrap
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from kdjax.report.document import AbsentError, Drawing
from kdjax.report.figures import _sheet
from kdjax.report.figures._sheet import IMAGE, LINE_HEIGHT
from kdjax.report.records import Record
from kdjax.report.theme import Theme, colour

ORDER = 51

# Columns of examples, and examples in all; for the width of a telephone too.
COLUMNS, NARROW_COLUMNS = 3, 1
EXAMPLES, NARROW_EXAMPLES = 9, 6

# The most stages beside each other, and the most lines of a text.
STAGES, LINES = 6, 3

# Inches of a character, and between an image and its text.
CHARACTER, GAP = 0.068, 0.1


def texts(record: Record, results: dict[str, Any]) -> Drawing:
  """Some test examples with the texts of all stages."""
  del results
  arrays = {stage: record.arrays(stage) for stage in record.results}
  written = {
    stage: it for stage, it in arrays.items() if it and "written" in it
  }
  if not written:
    raise AbsentError  # most experiments write no text
  first = next(iter(written))
  index = written[first]["index"]
  stages = [
    stage for stage, it in written.items() if np.array_equal(it["index"], index)
  ][:STAGES]
  count = min(EXAMPLES, len(index))
  shown = np.linspace(0, len(index) - 1, count).astype(int)
  columns, data, options = _sheet.load("Texts", record, first, index, shown)
  reader = _reader(record, first, data, options)
  images = _sheet.images_of(columns)
  right = written[first]["reference"][shown]
  right = right[:, 0] if right.ndim == 3 else right
  blocks = [
    [
      ("right", reader.text(right[row])),
      *(
        (stage, reader.text(written[stage]["written"][0][shown[row]]))
        for stage in stages
      ),
    ]
    for row in range(count)
  ]

  def paint(theme: Theme) -> Figure:
    tints = {"right": theme.ink}
    tints |= {stage: colour(record, stage, theme) for stage in stages}
    return _painted(blocks, tints, images, theme)

  caption = (
    f"{count} of {len(index)} test examples, evenly over the split, with what"
    f" each stage writes, of the first of {len(written[first]['written'])}"
    " seeds; above it a right text. A narrow page has"
    f" {min(count, NARROW_EXAMPLES)}."
  )
  if len(stages) < len(written):
    caption += f" Shown are {len(stages)} of {len(written)} stages."
  return Drawing.of("Texts side by side", caption, paint)


def _reader(record: Record, stage: str, data: Any, options: dict[str, Any]):
  """The tokenizer of the text that a stage writes."""
  metrics = record.config["stages"][stage]["metrics"].values()
  read = next(it["reads"] for it in metrics if it["name"] == "captions")
  key = read["reference"].partition("/")[2]
  readers = getattr(data, "readers", lambda **_: {})(**options)
  if key not in readers:
    raise AbsentError(f"Texts: the data set has no tokenizer of '{key}'.")
  return readers[key]


def _painted(blocks, tints, images, theme: Theme) -> Figure:
  """The examples in columns, each an image and its texts at the right."""
  columns = NARROW_COLUMNS if theme.narrow else COLUMNS
  blocks = blocks[:NARROW_EXAMPLES] if theme.narrow else blocks
  width = theme.width / columns
  left = 0.0 if images is None else IMAGE + GAP
  letters = int((width - left - GAP) / CHARACTER)
  laid = [
    [
      (line, tints[name])
      for name, text in block
      for line in _lines(f"{name}: {text or '(nothing)'}", letters)
    ]
    for block in blocks
  ]
  most = max(map(len, laid)) * LINE_HEIGHT
  height = max(most, 0.0 if images is None else IMAGE) + 2 * LINE_HEIGHT
  rows = -(-len(laid) // columns)
  canvas = Figure(figsize=(theme.width, rows * height))
  for number, lines in enumerate(laid):
    row, column = divmod(number, columns)
    x, top = column * width, (rows - row) * height
    if images is not None:
      box = (x, top - IMAGE, IMAGE, IMAGE)
      sizes = (theme.width, rows * height) * 2
      axes = canvas.add_axes(
        tuple(at / of for at, of in zip(box, sizes, strict=True))
      )
      _sheet.draw(axes, images[number])
    for place, (line, tint) in enumerate(lines, start=1):
      canvas.text(
        (x + left) / theme.width,
        (top - LINE_HEIGHT * place) / (rows * height),
        line,
        fontsize=_sheet.TEXT,
        color=tint,
      )
  return canvas


def _lines(text: str, letters: int) -> list[str]:
  """A text in lines of so many characters, of which the last may be cut."""
  found = textwrap.wrap(text, letters)
  if len(found) > LINES:
    rest = " ".join(found[LINES - 1 :])
    found = [*found[: LINES - 1], _sheet.cut(rest, letters)]
  return found
