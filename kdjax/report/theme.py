"""The style of a report: number format, colours and size of its figures."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from kdjax.report.records import Record

# The widths of a figure in inches, on a wide page and on a telephone. Both have
# the same size of text there; no text is smaller than SMALL points.
WIDTH, NARROW_WIDTH = 9.0, 3.3
SMALL = 7.5

# In inches, beside a figure's parts: a browser's words may be wider than
# Matplotlib measures them.
PAD = 0.09


@dataclasses.dataclass(frozen=True)
class Theme:
  """The colours of a page, light or dark, and the width of its figures.

  Attributes:
    background: of the figure.
    ink: of text and of marks without a stage.
    muted: of text beside the data.
    line: of grid lines.
    stages: the colours of stages, in turn.
    width: of a figure, in inches.
  """

  background: str
  ink: str
  muted: str
  line: str
  stages: tuple[str, ...]
  width: float = WIDTH

  @property
  def narrow(self) -> bool:
    """Whether panels are above each other, for the width of a telephone."""
    return self.width < WIDTH

  @property
  def colours(self) -> dict[str, str]:
    """Every colour by the name of its variable on the page."""
    names = ("background", "ink", "muted", "line")
    stages = {f"stage{i}": tint for i, tint in enumerate(self.stages)}
    return {name: getattr(self, name) for name in names} | stages


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


def colour(record: Record, stage: str, theme: Theme) -> str:
  """The colour of a stage, the same in every figure and table."""
  return theme.stages[record.order.index(stage) % len(theme.stages)]


def line_style(record: Record, stage: str) -> str:
  """The line style of a stage; differs between stages of the same colour."""
  repeat = record.order.index(stage) // len(LIGHT.stages)
  return ("-", "--", ":", "-.")[repeat % 4]


def mean_and_error(number: dict[str, Any] | None, sign: str = "") -> str:
  """A mean ± its deviation or standard error, as text.

  Args:
    number: has "mean", and "std" or "stderr"; None is not measured.
    sign: "+" writes the sign of positive means.
  """
  if number is None:
    return "-"
  if number["mean"] is None:
    return "not finite"
  error = number["std"] if "std" in number else number["stderr"]
  places = ".4f" if abs(number["mean"]) < 100 else ",.1f"
  mean = f"{number['mean']:{sign}{places}}"
  # One seed has no deviation.
  return mean if error is None else f"{mean} ± {error:{places}}"


def bounds(
  interval: Sequence[float] | None, sign: str = "", places: int = 4
) -> str:
  """The two ends of an interval, as text.

  Args:
    interval: low and high; None is not known.
    sign: "+" writes the sign of positive ends.
    places: after the point, of ends below 100.
  """
  if interval is None:
    return "-"
  form = f".{places}f" if max(map(abs, interval)) < 100 else ",.1f"
  return " to ".join(f"{end:{sign}{form}}" for end in interval)


def figure(height: float) -> Figure:
  """An empty figure; a `Drawing` gives it the width of its theme.

  Args:
    height: in inches.
  """
  layout = ConstrainedLayoutEngine(w_pad=PAD)
  return Figure(figsize=(WIDTH, height), layout=layout)


def style_axes(
  axes: Axes, theme: Theme, *, title: str = "", grid: str | None = None
) -> None:
  """Applies the theme to axes.

  Args:
    axes: complete apart from their style.
    theme: the colours.
    title: above the axes, at the left.
    grid: "x" or "y": the axis with grid lines.
  """
  axes.set_facecolor(theme.background)
  for spine in axes.spines.values():
    spine.set_visible(False)
  axes.tick_params(
    which="both",
    colors=theme.muted,
    labelsize=9,
    pad=5,
    length=0,
    **dict.fromkeys(("bottom", "left"), False),
  )
  for label in (axes.xaxis.label, axes.yaxis.label):
    label.set(color=theme.muted, fontsize=10)
  # With a height of its own, it is not placed anew at each drawing.
  axes.set_title(title, color=theme.ink, fontsize=11, loc="left", pad=10, y=1)
  axes.set_axisbelow(True)
  if grid:
    axes.grid(axis=grid, color=theme.line, linewidth=0.8)
