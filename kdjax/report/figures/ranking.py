"""The gains of many stages over a baseline, sorted."""

import re
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kdjax.report import rankings
from kdjax.report.document import AbsentError, Drawing
from kdjax.report.figures import _points
from kdjax.report.records import Record
from kdjax.report.theme import SMALL, Theme, colour, figure, style_axes

ORDER = 20

# A longer ranking is in several columns of at most so many rows.
ROWS, COLUMNS = 26, 3

# In inches: of a row, and of a panel's title and axis.
ROW, FRAME = 0.175, 0.62

# Limits leave out means this many interquartile ranges beyond the quartiles.
FAR = 3.0


def ranking(record: Record, results: dict[str, Any]) -> Drawing:
  """A panel for every baseline, a row for every stage compared with it."""
  groups = results["rankings"]
  if not groups:
    raise AbsentError

  def paint(theme: Theme) -> Figure:
    columns = 1 if theme.narrow else COLUMNS
    # (baseline, its number of columns, the rows of each)
    blocks = []
    for rows in groups.values():
      wide = min(columns, -(-len(rows) // ROWS)) if columns > 1 else 1
      blocks.append(np.array_split(rows, max(1, wide)))
    tall = [FRAME + ROW * (max(map(len, it)) + 1) for it in blocks]
    canvas = figure(sum(tall))
    boxes = canvas.subfigures(len(blocks), 1, squeeze=False, height_ratios=tall)
    for box, (worse, rows), parts in zip(
      boxes[:, 0], groups.items(), blocks, strict=True
    ):
      box.set_facecolor("none")
      _block(box, rows, parts, worse, record, theme)
    return canvas

  caption = (
    "Gain over the baseline on the test split, paired by seed: mean and its 95 "
    "% interval (Student's, cut at the ends of the axis); each small dot is a "
    "seed. An arrow: the mean is outside of the axis. Bold: teachers of other "
    "stages in the ranking. In the table, ± is one standard error. Holm p is "
    "the p value of the two-sided paired t-test, adjusted for all stages with "
    "this baseline (Holm, 1979); step: the time of a step of training divided "
    "by that of the baseline; validation loss: the first and the last one, "
    "means over seeds."
  )
  tables = rankings.grids(results)
  return Drawing.of("Stages by their gain", caption, paint, tables=tables)


def limits(rows: list[dict[str, Any]]) -> tuple[float, float]:
  """The ends of an axis with zero, without means that are far from the others.

  These are further from the quartiles than `FAR` times their distance (Tukey's
  outer fences).
  """
  means = np.asarray([row["gain"]["mean"] for row in rows])
  first, third = np.percentile(means, (25, 75))
  far = FAR * (third - first)
  inside = [
    row["gain"]
    for row, mean in zip(rows, means, strict=True)
    if first - far <= mean <= third + far
  ]
  seeds = [it for gain in inside for it in gain["seeds"] if it is not None]
  low, high = min([0.0, *seeds]), max([0.0, *seeds])
  space = 0.04 * (high - low) or 1.0
  return low - space, high + space


def _teachers(record: Record, rows) -> set[str]:
  """The stages of a ranking that teach another one of it."""
  names = [row["stage"] for row in rows]
  taught: set[str] = set()
  for stage in record.order:
    if any(re.fullmatch(rf"{re.escape(it)}(-\d+)?", stage) for it in names):
      teachers = record.config["stages"][stage]["teachers"].values()
      taught |= {it["stage"] for it in teachers if "stage" in it}
  return taught & set(names)


def _block(box, rows, parts, worse: str, record: Record, theme: Theme) -> None:
  """Draws the rows of one baseline, in columns."""
  low, high = limits(rows)
  teachers = _teachers(record, rows)
  panels = box.subplots(1, len(parts), squeeze=False)[0]
  most = max(map(len, parts))
  for number, (axes, part) in enumerate(zip(panels, parts, strict=True)):
    _panel(axes, part, worse, (low, high), record, theme)
    axes.set(xlim=(low, high), ylim=(most - 0.4, -1.3))
    metric = rows[0]["metric"]
    title = f"gain in test {metric} over {worse}" if number == 0 else ""
    style_axes(axes, theme, title=title, grid="x")
    axes.tick_params(axis="x", labelbottom=True)
    axes.xaxis.set_major_formatter(_points.with_sign)
    axes.set_yticks(range(len(part)), [row["stage"] for row in part])
    axes.tick_params(axis="y", colors=theme.ink, labelsize=SMALL, pad=3)
    for label, row in zip(axes.get_yticklabels(), part, strict=True):
      if row["stage"] in teachers:
        label.set_fontweight("bold")


def _panel(axes: Axes, part, worse: str, ends, record, theme: Theme) -> None:
  tint = colour(record, worse, theme)
  axes.axvline(0, color=tint, linewidth=1.4)
  axes.text(
    0,
    -0.75,
    worse,
    ha="center",
    va="bottom",
    color=tint,
    fontsize=SMALL,
    bbox={"facecolor": theme.background, "edgecolor": "none", "pad": 1},
  )
  low, high = ends
  for height, row in enumerate(part):
    gain = row["gain"]
    if low <= gain["mean"] <= high:
      _points.row(axes, height, gain, gain["interval"], theme.ink, size=4.2)
      continue
    left = gain["mean"] < low
    axes.annotate(
      f"{gain['mean']:+.3f}",
      (low if left else high, height),
      xytext=(14 if left else -14, 0),
      textcoords="offset points",
      ha="left" if left else "right",
      va="center",
      color=theme.ink,
      fontsize=SMALL,
      arrowprops={"arrowstyle": "->", "color": theme.muted},
    )
