"""What `kdjax inspect` wrote into a workdir, and how its figures are drawn."""

from collections.abc import Callable, Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap, to_rgba
from matplotlib.figure import Figure, SubFigure

from kdjax.report.document import AbsentError, Drawing
from kdjax.report.records import Record, archive
from kdjax.report.theme import Theme, figure, style_axes

FOLDER = "inspect"

# Of the theme's colours: parts that raise a score, and those that lower it.
RAISES, LOWERS = 2, 3

# Characters of a line of words, on a wide page and on a telephone.
LINE, NARROW_LINE = 104, 40
# Characters of names next to each other on an axis.
NAMES, NARROW_NAMES = 70, 24

Found = Mapping[str, np.ndarray]


def draw(
  record: Record,
  analysis: str,
  title: str,
  caption: str,
  height: Callable[[Found, Theme], float],
  paint: Callable[[SubFigure, Found, Theme], None],
) -> Drawing:
  """The figure of an analysis: one part below another for each stage.

  Args:
    record: the run.
    analysis: its name.
    title: of the figure.
    caption: what the figure shows; the stages are added.
    height: of the part of a stage, in inches.
    paint: draws the part of a stage.

  Raises:
    AbsentError: no stage was inspected.
  """
  stages = of_stages(record, analysis)
  if not stages:
    raise AbsentError("")

  def whole(theme: Theme) -> Figure:
    heights = [height(found, theme) for found in stages.values()]
    canvas = figure(sum(heights))
    parts = canvas.subfigures(len(stages), 1, height_ratios=heights)
    for part, (stage, found) in zip(
      np.atleast_1d(parts), stages.items(), strict=True
    ):
      part.set_facecolor(theme.background)
      if len(stages) > 1:
        part.suptitle(stage, color=theme.ink, fontsize=11, x=0.01, ha="left")
      paint(part, found, theme)
    return canvas

  names = ", ".join(stages)
  return Drawing.of(title, f"{caption} Stage: {names}.", whole)


def of_stages(record: Record, analysis: str) -> dict[str, Found]:
  """stage -> the arrays of an analysis, of stages that have them."""
  found = {}
  for stage in record.order:
    path = record.path / FOLDER / stage / f"{analysis}.npz"
    if not path.exists():
      continue
    found[stage] = archive(path, "Delete it, or inspect the stage again.")
  return found


def columns(theme: Theme, wide: int, narrow: int = 1) -> int:
  """The number of panels next to each other."""
  return narrow if theme.narrow else wide


def diverging(theme: Theme) -> Colormap:
  """From what lowers a score over nothing to what raises it.

  The middle is transparent: a page may have any background.
  """
  lowers, raises = theme.stages[LOWERS], theme.stages[RAISES]
  ends = [(lowers, 1.0), (lowers, 0.0), (raises, 0.0), (raises, 1.0)]
  places = (0.0, 0.5, 0.5, 1.0)
  tints = map(to_rgba, ends)
  return LinearSegmentedColormap.from_list(
    "", [*zip(places, tints, strict=True)]
  )


def shades(tint: str) -> Colormap:
  """From nothing, which is transparent, to a colour."""
  ends = [to_rgba((tint, opacity)) for opacity in (0.0, 1.0)]
  return LinearSegmentedColormap.from_list("", ends)


def bare(axes: Axes, theme: Theme, title: str = "") -> None:
  """Styles axes without ticks; the title is small."""
  axes.set(xticks=[], yticks=[])
  style_axes(axes, theme)
  axes.set_title(title, color=theme.ink, fontsize=9, loc="left", pad=4)


def picture(axes: Axes, kind: str, value: np.ndarray, theme: Theme) -> None:
  """An example: an image, a spectrogram or series, or a curve."""
  if kind == "image":
    colours = value.shape[-1] == 3
    low, high = float(value.min()), float(value.max())
    scaled = (value - low) / max(high - low, 1e-12)
    scaled = scaled if colours else scaled.mean(-1)
    axes.imshow(scaled, cmap="gray", vmin=0, vmax=1)
  elif kind == "map":
    # Of its own background: a raster has the same colours on every page.
    axes.imshow(
      value.T, cmap="gray", aspect="auto", origin="lower", interpolation="none"
    )
  else:
    axes.plot(value, color=theme.ink, linewidth=0.8)
    axes.margins(x=0)


def heat(axes: Axes, kind: str, value: np.ndarray, theme: Theme) -> None:
  """Signed parts of a score at each position of an example."""
  limit = max(float(np.abs(value).max()), 1e-12)
  options = {"cmap": diverging(theme), "vmin": -limit, "vmax": limit}
  if kind == "image":
    axes.imshow(value, interpolation="none", **options)
  elif kind == "map":
    axes.imshow(
      value.T, aspect="auto", origin="lower", interpolation="none", **options
    )
  else:
    axes.imshow(value[None], aspect="auto", interpolation="none", **options)


def lines_of(words: list[str], theme: Theme) -> list[list[int]]:
  """The places of the words of each line."""
  most, lines, used = columns(theme, LINE, NARROW_LINE), [[]], 0
  for place, word in enumerate(words):
    if lines[-1] and used + len(word) > most:
      lines.append([])
      used = 0
    lines[-1].append(place)
    used += len(word) + 1
  return lines


def text(
  axes: Axes,
  words: list[str],
  values: np.ndarray,
  theme: Theme,
  *,
  signed: bool = True,
) -> None:
  """Words on a background that says their value, in lines.

  Args:
    axes: as high as `lines_of` has lines.
    words: without padding.
    values: of each.
    theme: the colours.
    signed: whether values below 0 have a colour of their own.
  """
  limit = max(float(np.abs(values).max(initial=0.0)), 1e-12)
  # Pale, so that words are readable on it.
  cmap = diverging(theme) if signed else shades(theme.stages[RAISES])
  scale = lambda it: 0.5 + 0.3 * it / limit if signed else 0.6 * it / limit
  most, lines = columns(theme, LINE, NARROW_LINE), lines_of(words, theme)
  axes.set(xlim=(0, most), ylim=(len(lines), 0))
  for row, places in enumerate(lines):
    at = 0
    for place in places:
      axes.text(
        at,
        row + 0.5,
        words[place],
        family="monospace",
        fontsize=8,
        va="center",
        color=theme.ink,
        bbox={
          "facecolor": cmap(scale(float(values[place]))),
          "edgecolor": "none",
          "pad": 1.2,
        },
      )
      at += len(words[place]) + 1
  bare(axes, theme)


def seen(words: np.ndarray) -> list[str]:
  """The words of an example, without padding, each at most 20 characters."""
  return [str(it)[:20] for it in words if it]


def names_on(axes: Axes, values: list[str], which: str, theme: Theme) -> None:
  """Names along an axis; where they are long, upright on the x axis."""
  most = columns(theme, NAMES, NARROW_NAMES) / max(len(values), 1)
  turn = 90 if which == "x" and max(map(len, values)) > most else 0
  options = {"rotation": turn} if which == "x" else {}
  getattr(axes, f"set_{which}ticks")(range(len(values)), values, **options)
