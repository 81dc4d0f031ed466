"""Many stages against one baseline, in the order of their gains."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kdjax.report.page import Grid
from kdjax.report.records import Record
from kdjax.report.theme import (
  AbsentError,
  Drawing,
  Theme,
  colour,
  figure,
  pale,
  plain,
  spread,
)

# Gains that are more than this are ranked, not listed.
FEW = 8

HEAD = (
  "metric",
  "gain",
  "seeds better",
  "step",
  "validation loss",
)


def rankings(
  record: Record, results: dict[str, Any]
) -> dict[str, list[dict[str, Any]]]:
  """The stages that gain over one baseline, best first, by baseline.

  Args:
    record: of the run.
    results: with its "stages" and "gains".

  Returns:
    {baseline: [{stage, metric, gain, step, loss, note}]}; {} where the gains
    are few. `step` is the time of a step beside the baseline's, as a
    ratio; `loss` the first and the last loss on validation, means over seeds.
  """
  groups: dict[str, list] = {}
  for better, worse in record.config["gains"]:
    gain = results["gains"].get(f"{better} - {worse}")
    if gain is not None and gain["mean"] is not None:
      groups.setdefault(worse, []).append((better, gain))
  if sum(map(len, groups.values())) <= FEW:
    return {}
  made = {}
  for worse, members in groups.items():
    sign = 1 if members[0][1]["mode"] == "max" else -1
    members.sort(key=lambda member: -sign * member[1]["mean"])
    made[worse] = [
      {
        "stage": stage,
        "metric": gain["metric"],
        "gain": gain,
        "step": _ratio(results["stages"], stage, worse),
        "loss": _losses(record, stage),
        "note": record.config["notes"].get(stage, ""),
      }
      for stage, gain in members
    ]
  return made


def grids(results: dict[str, Any], *, brief: bool = False) -> list[Grid]:
  """A table for each baseline.

  Args:
    results: of `report.summarize`.
    brief: what fits a terminal.
  """
  made = []
  for worse, rows in results["rankings"].items():
    metric = rows[0]["metric"]
    own = results["stages"][worse].get(metric)
    noted = any(row["note"] for row in rows)
    head = [f"over {worse}", metric, *HEAD[1:], *["note"] * noted]
    lines = [[worse, spread(own), "-", "-", "-", "-", *[""] * noted]]
    for row in rows:
      gain, stage = row["gain"], results["stages"][row["stage"]]
      sign = 1 if gain["mode"] == "max" else -1
      better = sum(sign * (value or 0) > 0 for value in gain["seeds"])
      lines.append(
        [
          row["stage"],
          spread(stage.get(metric)),
          spread(gain, "+"),
          f"{better} of {len(gain['seeds'])}",
          "-" if row["step"] is None else f"x{row['step']:.2f}",
          "-"
          if row["loss"] is None
          else "{:.3g} to {:.3g}".format(*row["loss"]),
          *[row["note"]] * noted,
        ]
      )
    if brief:
      head, *lines = ([line[0], *line[1:3], line[4]] for line in (head, *lines))
    made.append(Grid(head, lines))
  return made


def ranking(record: Record, results: dict[str, Any]) -> Drawing:
  """The gains in their order, each with its standard error and its seeds."""
  groups = results["rankings"]
  if not groups:
    raise AbsentError

  def draw(theme: Theme) -> Figure:
    sizes = [len(rows) for rows in groups.values()]
    canvas = figure(0.9 * len(sizes) + 0.23 * sum(sizes))
    panels = canvas.subplots(
      len(sizes),
      1,
      squeeze=False,
      sharex=True,
      height_ratios=[size + 1 for size in sizes],
    )[:, 0]
    for axes, (worse, rows) in zip(panels, groups.items(), strict=True):
      _panel(axes, rows, worse, colour(record, worse, theme), theme)
    return canvas

  caption = (
    "Gain on the test split over the same network without a teacher, paired by "
    "seed: mean, with one standard error either way. Each dot is a seed."
  )
  return Drawing.of("ranking", "Which method when", caption, draw)


def _panel(axes: Axes, rows, worse: str, tint: str, theme: Theme) -> None:
  axes.axvline(0, color=theme.muted, linewidth=1)
  for place, row in enumerate(rows):
    gain = row["gain"]
    axes.barh(place, gain["mean"], height=0.66, color=pale(tint, theme))
    axes.errorbar(
      gain["mean"],
      place,
      xerr=gain["stderr"],
      color=theme.ink,
      elinewidth=1.2,
      zorder=3,
    )
    values = [value for value in gain["seeds"] if value is not None]
    heights = place + np.linspace(-0.2, 0.2, len(values) + 2)[1:-1]
    axes.scatter(values, heights, s=9, color=tint, zorder=4)
  axes.set_ylim(len(rows) - 0.4, -0.6)
  axes.set_yticks(range(len(rows)), [row["stage"] for row in rows])
  metric = rows[0]["metric"]
  plain(axes, theme, title=f"gain in test {metric} over {worse}", grid="x")
  axes.tick_params(axis="x", labelbottom=True)
  axes.tick_params(axis="y", colors=theme.ink)


def _ratio(stages: dict[str, Any], stage: str, worse: str) -> float | None:
  """The time of a stage's step in that of the baseline's."""
  rates = [stages[name]["examples_per_second"] for name in (stage, worse)]
  return rates[1] / rates[0] if all(rates) else None


def _losses(record: Record, stage: str) -> list[float] | None:
  """The first and the last loss on validation, means over the seeds."""
  curve = record.curve(stage, "validation/loss")
  ends = [
    [values[pick(values)] for values in curve.values()] for pick in (min, max)
  ]
  if not curve:
    return None
  means = [float(np.mean(values)) for values in ends]
  return means if np.all(np.isfinite(means)) else None
