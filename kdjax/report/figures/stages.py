"""The test metric of every stage, and the gains."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kdjax.report.document import TEST_RESULTS, AbsentError, Drawing
from kdjax.report.figures import _points
from kdjax.report.records import Record
from kdjax.report.selection import headline, ranked
from kdjax.report.theme import (
  Theme,
  colour,
  figure,
  mean_and_error,
  style_axes,
)

ORDER = 10

# In inches: of a row, and of a panel's title and axis.
ROW, FRAME = 0.52, 0.6


def stages(record: Record, results: dict[str, Any]) -> Drawing:
  """A row for every stage, and one for every gain, with a dot for each seed."""
  metric, hidden = headline(record, results), ranked(results)
  measured = {
    stage: numbers[metric]
    for stage, numbers in results["stages"].items()
    if stage not in hidden
    and metric in numbers
    and numbers[metric]["mean"] is not None
  }
  if not measured:
    raise AbsentError("Stages: no stage is finished.")
  gains = {
    name: gain
    for name, gain in results["gains"].items()
    if gain["mean"] is not None and name.partition(" - ")[0] not in hidden
  }

  def paint(theme: Theme) -> Figure:
    sizes = [len(measured), *[len(gains)] * bool(gains)]
    heights = [FRAME + ROW * size for size in sizes]
    if theme.narrow:
      canvas = figure(sum(heights))
      shape = {"nrows": len(sizes), "height_ratios": heights}
    else:
      canvas = figure(max(heights))
      shape = {"ncols": len(sizes)}
    panels = canvas.subplots(squeeze=False, **shape).flatten()
    if not theme.narrow:
      sizes = [max(sizes)] * 2
    _stages(panels[0], measured, record, theme)
    _points.scale(panels[0], sizes[0])
    style_axes(panels[0], theme, title=f"test {metric}", grid="x")
    if gains:
      _gains(panels[1], gains, record, theme)
      _points.scale(panels[1], sizes[1], signed=True)
    return canvas

  caption = (
    f"Mean of {metric} on the test split over seeds; line: ± one sample "
    "deviation; each small dot is a seed. The axis does not start at zero."
  )
  if gains:
    caption += (
      " Gains: the difference between two stages with the same seed, mean over "
      "seeds ± one standard error; line: the mean's 95 % interval (Student's)."
    )
  return Drawing.of("Stages", caption, paint, section=TEST_RESULTS)


def _stages(axes: Axes, measured, record: Record, theme: Theme) -> None:
  for height, (stage, number) in enumerate(measured.items()):
    tint = colour(record, stage, theme)
    _points.row(axes, height, number, _points.deviation(number), tint)
    _points.words(axes, height, stage, mean_and_error(number), theme)


def _gains(axes: Axes, gains, record: Record, theme: Theme) -> None:
  _points.zero(axes, range(len(gains)), theme)
  for height, (name, gain) in enumerate(gains.items()):
    better, _, worse = name.partition(" - ")
    tint = colour(record, better, theme)
    _points.row(axes, height, gain, gain["interval"], tint)
    pair, number = f"{better} over {worse}", mean_and_error(gain, "+")
    _points.words(axes, height, pair, number, theme)
  metrics = dict.fromkeys(gain["metric"] for gain in gains.values())
  title = f"gain in test {', '.join(metrics)}"
  style_axes(axes, theme, title=title, grid="x")
