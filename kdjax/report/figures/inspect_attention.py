"""Attention rollout on words and patches, and how spread attention is."""

from typing import Any

import numpy as np

from kdjax.report.document import Drawing
from kdjax.report.figures import _inspected
from kdjax.report.records import Record
from kdjax.report.theme import Theme, style_axes

ORDER = 72

CAPTION = (
  "Above: attention rollout of some validation examples, the share of each "
  "input token in what the network pools (darker is more, of words): the "
  "products of all layers' mean attention, with residual connections. Below: "
  "the entropy of the attention of each head (dot) by layer, mean over "
  "examples: 1 is equal attention on all tokens, 0 attention on a single one."
)

# Texts and images that are drawn.
TEXTS, IMAGES = 4, 6

# How tokens start that are no words.
SPECIAL = ("[", "<")

# In inches.
LINE_HEIGHT, IMAGE, CURVE = 0.24, 1.35, 1.9


def inspect_attention(record: Record, results: dict[str, Any]) -> Drawing:
  """For each place: rollout of examples, and the entropy of its heads."""
  del results
  return _inspected.draw(
    record, "attention", "Attention", CAPTION, _height, _paint
  )


def _height(found, theme: Theme) -> float:
  return sum(sum(_parts(found, place, theme)) for place in found["places"])


def _parts(found, place: str, theme: Theme) -> list[float]:
  """The heights of the examples and of the entropy of a place."""
  if f"{place}/words" in found:
    lines = sum(
      len(_inspected.lines_of(_inspected.seen(words), theme)) + 0.3
      for words in found[f"{place}/words"][:TEXTS]
    )
    return [0.35 + LINE_HEIGHT * lines, CURVE]
  if f"{place}/grid" in found:
    rows = IMAGES // _inspected.columns(theme, IMAGES, 3)
    return [0.35 + IMAGE * rows, CURVE]
  return [0.05, CURVE]


def _paint(canvas, found, theme: Theme) -> None:
  places = [*found["places"]]
  heights = [_parts(found, place, theme) for place in places]
  blocks = canvas.subfigures(
    2 * len(places), 1, height_ratios=np.concatenate(heights)
  )
  for number, place in enumerate(places):
    examples, curve = blocks[2 * number : 2 * number + 2]
    for block in (examples, curve):
      block.set_facecolor(theme.background)
    if f"{place}/words" in found:
      _texts(examples, found, place, theme)
    elif f"{place}/grid" in found:
      _images(examples, found, place, theme)
    _entropy(curve.subplots(), found, place, theme)


def _texts(canvas, found, place: str, theme: Theme) -> None:
  texts = [_inspected.seen(it) for it in found[f"{place}/words"][:TEXTS]]
  rows = canvas.subplots(
    len(texts),
    1,
    squeeze=False,
    height_ratios=[len(_inspected.lines_of(it, theme)) for it in texts],
  )[:, 0]
  for axes, line, values in zip(
    rows, texts, found[f"{place}/rollout"], strict=False
  ):
    values = values[: len(line)]
    words = [not it.startswith(SPECIAL) for it in line]
    # Special tokens have most of the attention, and would hide the words.
    most = values[words].max() if any(words) else values.max()
    values = np.minimum(values, most)
    _inspected.text(axes, line, values, theme, signed=False)
  rows[0].set_title(place, color=theme.ink, fontsize=10, loc="left")


def _images(canvas, found, place: str, theme: Theme) -> None:
  across = _inspected.columns(theme, IMAGES, 3)
  panels = canvas.subplots(IMAGES // across, across, squeeze=False).flatten()
  high, wide, first = found[f"{place}/grid"]
  tints = _inspected.shades(theme.stages[_inspected.RAISES])
  for number, axes in enumerate(panels):
    _inspected.bare(axes, theme, place if number == 0 else "")
    if number < len(found[f"{place}/rollout"]):
      values = found[f"{place}/rollout"][number, first:].reshape(high, wide)
      axes.imshow(values, cmap=tints, vmin=0)


def _entropy(axes, found, place: str, theme: Theme) -> None:
  values = found[f"{place}/entropy"]
  depth, heads = values.shape
  tint = theme.stages[_inspected.RAISES]
  at = np.repeat(np.arange(depth), heads)
  axes.scatter(at, values.flatten(), s=14, color=tint, zorder=3)
  axes.plot(values.mean(1), color=theme.muted, linewidth=1)
  axes.set(xticks=range(depth), xlabel="layer", ylim=(0, 1.05))
  axes.set_xlim(-0.5, depth - 0.5)
  style_axes(axes, theme, title=f"{place}: entropy of heads", grid="y")
