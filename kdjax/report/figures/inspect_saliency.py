"""Saliency of some validation examples by three methods."""

from typing import Any

from kdjax.report.document import Drawing
from kdjax.report.figures import _inspected
from kdjax.report.records import Record
from kdjax.report.theme import Theme

ORDER = 73

CAPTION = (
  "Which parts of an input the network's decision depends on, for some "
  "validation examples. Rows: the input; the absolute gradient of the score; "
  "integrated gradients, each value's part in the score's difference to a "
  "baseline; occlusion, how much the score falls without a part. Teal raises "
  "the score, red lowers it. The score is the logit of the predicted class, "
  "or, without classes, the embedding along its own direction."
)

METHODS = {
  "gradient": "|gradient|",
  "integrated": "integrated",
  "occlusion": "occlusion",
}

# Examples next to each other, and texts below each other.
IMAGES, NARROW_IMAGES, TEXTS = 6, 3, 3

# In inches.
LINE_HEIGHT, ROW, TITLE = 0.24, 1.2, 0.35


def inspect_saliency(record: Record, results: dict[str, Any]) -> Drawing:
  """For each network and modality: inputs, and a row for each method."""
  del results
  return _inspected.draw(
    record, "saliency", "Saliency", CAPTION, _height, _paint
  )


def _height(found, theme: Theme) -> float:
  return sum(_part(found, place, theme) for place in found["places"])


def _part(found, place: str, theme: Theme) -> float:
  kind = str(found[f"{place}/kind"])
  if kind == "text":
    lines = [
      len(_inspected.lines_of(_inspected.seen(it), theme))
      for it in found[f"{place}/value"][:TEXTS]
    ]
    return TITLE * 4 + LINE_HEIGHT * 3 * sum(lines)
  row = ROW if kind in ("image", "map") else 0.5 * ROW
  return TITLE + row * (1 + len(METHODS))


def _paint(canvas, found, theme: Theme) -> None:
  places = [*found["places"]]
  heights = [_part(found, place, theme) for place in places]
  blocks = canvas.subfigures(
    len(places), 1, height_ratios=heights, squeeze=False
  )[:, 0]
  for block, place in zip(blocks, places, strict=True):
    block.set_facecolor(theme.background)
    paint = _texts if str(found[f"{place}/kind"]) == "text" else _arrays
    paint(block, found, place, theme)


def _arrays(canvas, found, place: str, theme: Theme) -> None:
  kind = str(found[f"{place}/kind"])
  across = _inspected.columns(theme, IMAGES, NARROW_IMAGES)
  across = min(across, len(found[f"{place}/value"]))
  panels = canvas.subplots(1 + len(METHODS), across, squeeze=False)
  for column in range(across):
    value = found[f"{place}/value"][column]
    axes = panels[0, column]
    _inspected.bare(axes, theme, place if column == 0 else "")
    _inspected.picture(axes, kind, value, theme)
    axes.set(xticks=[], yticks=[])
    for row, method in enumerate(METHODS, start=1):
      axes = panels[row, column]
      _inspected.heat(axes, kind, found[f"{place}/{method}"][column], theme)
      _inspected.bare(axes, theme)
  for row, name in enumerate(["input", *METHODS.values()]):
    panels[row, 0].set_ylabel(name, color=theme.muted, fontsize=8)


def _texts(canvas, found, place: str, theme: Theme) -> None:
  words = [_inspected.seen(it) for it in found[f"{place}/value"][:TEXTS]]
  ratios = [len(_inspected.lines_of(it, theme)) for it in words]
  rows = canvas.subplots(
    len(METHODS) * len(words), 1, squeeze=False, height_ratios=ratios * 3
  )[:, 0]
  for number, (method, name) in enumerate(METHODS.items()):
    for example, line in enumerate(words):
      axes = rows[number * len(words) + example]
      values = found[f"{place}/{method}"][example][: len(line)]
      _inspected.text(axes, line, values, theme)
      if example == 0:
        title = f"{place}: {name}"
        axes.set_title(title, color=theme.ink, fontsize=9, loc="left", pad=4)
