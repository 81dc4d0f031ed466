"""Rows of a mean, its interval and a dot for every seed, on a zoomed axis."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from kdjax.report.theme import SMALL, Theme

# Of the vertical space of a row: where its words end and its seeds are.
WORDS, SEEDS = -0.2, 0.2

# Letters that fit beside each other in large and in small type, on a wide page
# and on a telephone.
LETTERS = (52, 64), (40, 50)


def row(
  axes: Axes,
  height: float,
  number: dict[str, Any],
  ends: Sequence[float] | None,
  tint: str,
  *,
  size: float = 7,
) -> None:
  """Draws a mean, its interval, and below them a dot for every seed.

  Args:
    axes: where to draw.
    height: the row's place.
    number: mean, and seeds: their values, None where one is not finite.
    ends: of the interval; None is not known.
    tint: the colour.
    size: of the mean's mark, in points; a seed's is half of it.
  """
  seeds = [value for value in number["seeds"] if value is not None]
  if ends is not None:
    axes.plot(ends, [height] * 2, color=tint, linewidth=0.32 * size)
  axes.plot(
    seeds,
    [height + SEEDS] * len(seeds),
    linestyle="none",
    marker="o",
    markersize=0.5 * size,
    color=tint,
    markeredgewidth=0,
    alpha=0.6,
  )
  axes.plot([number["mean"]], [height], color=tint, marker="o", markersize=size)


def strip(
  axes: Axes,
  height: float,
  number: dict[str, Any],
  ends: Sequence[float] | None,
  tint: str,
) -> None:
  """Draws a row without space: its seeds are on the line of the interval."""
  seeds = [value for value in number["seeds"] if value is not None]
  if ends is not None:
    axes.plot(ends, [height] * 2, color=tint, linewidth=1.2)
  axes.plot(
    seeds,
    [height] * len(seeds),
    linestyle="none",
    marker="|",
    markersize=5,
    color=tint,
  )
  axes.plot([number["mean"]], [height], color=tint, marker="o", markersize=5)


def deviation(number: dict[str, Any]) -> list[float] | None:
  """The ends of a mean's interval of one sample deviation on either side."""
  mean, std = number["mean"], number["std"]
  return None if std is None else [mean - std, mean + std]


def words(
  axes: Axes, height: float, name: str, number: str, theme: Theme
) -> None:
  """Writes a name and a number above a row, from the left end of the axes.

  Args:
    axes: where to write.
    height: the row's place.
    name: is cut if both do not fit.
    number: a mean and its error.
    theme: the colours.
  """
  full, small = LETTERS[theme.narrow]
  space = small - len(number) - 2
  name = name if len(name) <= space else f"{name[: space - 1]}…"
  text = f"{name}: {number}"
  axes.text(
    0,
    height + WORDS,
    text,
    transform=axes.get_yaxis_transform(),
    va="bottom",
    color=theme.ink,
    fontsize=9.5 if len(text) <= full else SMALL,
    in_layout=False,
    bbox={"facecolor": theme.background, "edgecolor": "none", "pad": 1},
  )


def zero(axes: Axes, heights: Sequence[float], theme: Theme) -> None:
  """Draws the line at zero beside the rows, with a gap for their words."""
  tops = [height + WORDS + 0.04 for height in heights]
  bottoms = [height + SEEDS + 0.1 for height in heights]
  axes.vlines([0] * len(tops), tops, bottoms, color=theme.muted, linewidth=1)


def scale(axes: Axes, count: int, *, signed: bool = False) -> None:
  """Fits the axes to their rows.

  Args:
    axes: with all rows.
    count: of the rows.
    signed: whether numbers of the axis have a sign.
  """
  axes.margins(x=0.1)
  axes.set_ylim(count - 0.5, -0.62)
  axes.set_yticks([])
  # Words of all rows have the size of the smallest.
  size = min((text.get_fontsize() for text in axes.texts), default=None)
  for text in axes.texts:
    text.set_fontsize(size)
  axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
  if signed:
    axes.xaxis.set_major_formatter(with_sign)


def with_sign(value: float, _) -> str:
  """A number of an axis of gains."""
  return f"{value:+.6g}" if abs(value) > 1e-12 else "0"
