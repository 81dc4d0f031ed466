"""The test metric of stages against what they cost."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter

from kdjax.report.document import AbsentError, Drawing
from kdjax.report.figures._lines import legend, legend_rows, panels
from kdjax.report.figures._points import deviation
from kdjax.report.records import Record
from kdjax.report.selection import headline, ranked
from kdjax.report.theme import Theme, colour, figure, style_axes

ORDER = 70

# Number of a stage -> title of its panel, and the cost that it stands for.
COSTS = {
  "parameters": ("parameters", lambda value: value),
  "examples_per_second": (
    "microseconds of training an example",
    lambda value: 1e6 / value,
  ),
}

# Marks, in turn, of stages with the same colour.
MARKS = "os^Dv"

ROW = 3.0


def cost(record: Record, results: dict[str, Any]) -> Drawing:
  """A panel for the parameters and one for the time of a training step."""
  metric, hidden = headline(record, results), ranked(results)
  stages = {
    stage: numbers
    for stage, numbers in results["stages"].items()
    if stage not in hidden
    and (numbers.get(metric) or {}).get("mean") is not None
  }
  shown = {
    key: {stage for stage, it in stages.items() if it[key]} for key in COSTS
  }
  # One point, or several at the same cost, show no trade-off.
  shown = {
    key: names
    for key, names in shown.items()
    if len({stages[name][key] for name in names}) > 1
  }
  if not shown:
    raise AbsentError("")

  def paint(theme: Theme) -> Figure:
    columns = 1 if theme.narrow else 2
    rows = -(-len(shown) // columns)
    canvas = figure(ROW * rows + 0.27 * legend_rows(stages, theme))
    all_axes = panels(canvas, len(shown), columns)
    for axes, (key, names) in zip(all_axes, shown.items(), strict=True):
      title, unit = COSTS[key]
      points = {
        stage: (unit(it[key]), it[metric])
        for stage, it in stages.items()
        if stage in names
      }
      sign = _sign(record, metric)
      _panel(axes, points, sign, record, theme)
      axes.set(xlabel=title, ylabel=f"test {metric}")
      style_axes(axes, theme, grid="both")
    legend(canvas, all_axes, theme)
    return canvas

  caption = (
    f"Test {metric}, mean over seeds ± one sample deviation. Parameters are "
    "those of the trained student; the time is that of training, all seeds "
    "together and with the teachers' computation, on the machine of the run. "
    "Grey line: the stages that no other one exceeds at less cost."
  )
  return Drawing.of("Costs", caption, paint)


def frontier(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
  """The (cost, value) points that no other one exceeds at the same or less."""
  kept, best = [], -np.inf
  for price, value in sorted(points, key=lambda it: (it[0], -it[1])):
    if value > best:
      kept.append((price, value))
      best = value
  return kept


def _sign(record: Record, metric: str) -> int:
  """-1 if less of the metric is better."""
  knobs = record.config["stages"].values()
  modes = {it["select"]: it["select_mode"] for it in knobs}
  return -1 if modes.get(metric) == "min" else 1


def _panel(axes: Axes, points, sign: int, record: Record, theme: Theme) -> None:
  for stage, (price, number) in points.items():
    tint = colour(record, stage, theme)
    ends = deviation(number)
    if ends is not None:
      axes.plot([price] * 2, ends, color=tint, linewidth=1.6)
    turn = record.order.index(stage) // len(theme.stages)
    axes.plot(
      [price],
      [number["mean"]],
      linestyle="none",
      marker=MARKS[turn % len(MARKS)],
      markersize=7,
      color=tint,
      label=stage,
    )
  best = frontier([(it[0], sign * it[1]["mean"]) for it in points.values()])
  axes.step(
    [price for price, _ in best],
    [sign * value for _, value in best],
    where="post",
    color=theme.muted,
    linewidth=1,
    zorder=0,
  )
  prices = [price for price, _ in points.values()]
  if max(prices) > 10 * min(prices):
    axes.set_xscale("log")
    axes.xaxis.set_minor_formatter(NullFormatter())
  else:
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
  axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.6g}")
  axes.margins(x=0.15, y=0.1)
