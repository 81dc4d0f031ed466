"""The look of a report: its numbers, the colours and size of its figures."""

import dataclasses
import io
from collections.abc import Callable
from typing import Any

from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from kdjax.report.records import Record

# In inches, as wide as the page; the pixels are twice those of the page.
WIDTH = 9.0
PIXELS_PER_INCH = 200


class AbsentError(Exception):
  """A figure whose input a workdir does not have; the message says which."""


@dataclasses.dataclass(frozen=True)
class Theme:
  """The colours of a page."""

  background: str
  ink: str
  muted: str
  line: str
  stages: tuple[str, ...]


LIGHT = Theme(
  background="#ffffff",
  ink="#1d2430",
  muted="#5f6b7a",
  line="#e3e6eb",
  stages=(
    "#7a5fb5",
    "#d9822b",
    "#12857f",
    "#c2406b",
    "#3f74c7",
    "#7d8c22",
    "#9a5f3b",
    "#5d6b7c",
  ),
)
DARK = Theme(
  background="#151a21",
  ink="#e6e9ee",
  muted="#98a2b3",
  line="#2b333e",
  stages=(
    "#a78fe0",
    "#eda35a",
    "#3dbdb4",
    "#e87a9f",
    "#7ba6ea",
    "#b4c256",
    "#cf9470",
    "#9aa8b8",
  ),
)


@dataclasses.dataclass(frozen=True)
class Drawing:
  """A figure: its file's name, its words, and its two PNGs."""

  name: str
  title: str
  caption: str
  light: bytes
  dark: bytes

  @classmethod
  def of(
    cls, name: str, title: str, caption: str, draw: Callable[[Theme], Figure]
  ) -> "Drawing":
    """Draws it in both themes."""
    return cls(name, title, caption, _png(draw, LIGHT), _png(draw, DARK))


def colour(record: Record, stage: str, theme: Theme) -> str:
  """The colour of a stage, the same in every figure and table."""
  return theme.stages[record.order.index(stage) % len(theme.stages)]


def pale(strong: str, theme: Theme) -> str:
  """A colour of an area, which leaves what is drawn on it legible."""
  pair = zip(to_rgb(strong), to_rgb(theme.background), strict=True)
  return to_hex([0.35 * ink + 0.65 * paper for ink, paper in pair])


def line_style(record: Record, stage: str) -> str:
  """Tells apart the stages that share a colour, where there are many."""
  again = record.order.index(stage) // len(LIGHT.stages)
  return ("-", "--", ":", "-.")[again % 4]


def spread(number: dict[str, Any] | None, sign: str = "") -> str:
  """A mean with its deviation, or its standard error."""
  if number is None:
    return "-"
  if number["mean"] is None:
    return "not finite"
  error = number["std"] if "std" in number else number["stderr"]
  places = ".4f" if abs(number["mean"]) < 100 else ",.1f"
  return (
    f"{number['mean']:{sign}{places}} ± "
    f"{'-' if error is None else format(error, places)}"
  )


def figure(height: float) -> Figure:
  """An empty figure of the page's width.

  Args:
    height: in inches.
  """
  return Figure(figsize=(WIDTH, height), layout="constrained")


def plain(
  axes: Axes, theme: Theme, *, title: str = "", grid: str | None = None
) -> None:
  """Gives axes the look of the page.

  Args:
    axes: that are otherwise complete.
    theme: the colours.
    title: above them, at the left.
    grid: "x" or "y": the axis whose values are read off.
  """
  axes.set_facecolor(theme.background)
  for spine in axes.spines.values():
    spine.set_visible(False)
  axes.tick_params(
    which="both", colors=theme.muted, labelsize=9, length=0, pad=5
  )
  for label in (axes.xaxis.label, axes.yaxis.label):
    label.set(color=theme.muted, fontsize=10)
  axes.set_title(title, color=theme.ink, fontsize=11, loc="left", pad=10)
  axes.set_axisbelow(True)
  if grid:
    axes.grid(axis=grid, color=theme.line, linewidth=0.8)


def _png(draw: Callable[[Theme], Figure], theme: Theme) -> bytes:
  file = io.BytesIO()
  draw(theme).savefig(
    file,
    format="png",
    dpi=PIXELS_PER_INCH,
    facecolor=theme.background,
    metadata={"Software": None},
  )
  return file.getvalue()
