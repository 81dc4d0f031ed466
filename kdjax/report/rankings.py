"""Many stages compared with one baseline, sorted by their gain."""

from typing import Any

import numpy as np

from kdjax.report import intervals
from kdjax.report.document import Grid
from kdjax.report.gains import better_seeds, probability
from kdjax.report.records import Record
from kdjax.report.theme import bounds, mean_and_error

# A run with more gains than this has rankings.
FEW = 8

HEAD = (
  "gain",
  "95 % interval",
  "Holm p",
  "seeds better",
  "step",
  "validation loss",
)
# Of the table for a terminal, after the stage's name and metric.
BRIEF = ("gain", "step")


def rankings(
  record: Record, results: dict[str, Any]
) -> dict[str, list[dict[str, Any]]]:
  """The stages compared with each baseline, best first.

  Args:
    record: the run.
    results: its "stages" and "gains".

  Returns:
    {baseline: [{stage, metric, gain, holm, step, loss, note}]}; {} if the run
    has at most `FEW` gains. `holm` is the gain's p value, adjusted by
    `intervals.holm` for all stages with this baseline; `step` the time of a
    step divided by the baseline's; `loss` the first and the last validation
    loss, means over seeds.
  """
  by_baseline: dict[str, list] = {}
  for better, worse in record.config["gains"]:
    gain = results["gains"].get(f"{better} - {worse}")
    if gain is not None and gain["mean"] is not None:
      by_baseline.setdefault(worse, []).append((better, gain))
  if sum(map(len, by_baseline.values())) <= FEW:
    return {}
  sorted_rows = {}
  for worse, members in by_baseline.items():
    sign = 1 if members[0][1]["mode"] == "max" else -1
    members.sort(key=lambda member: -sign * member[1]["mean"])
    adjusted = intervals.holm([gain["p"] for _, gain in members])
    sorted_rows[worse] = [
      {
        "stage": stage,
        "metric": gain["metric"],
        "gain": gain,
        "holm": p,
        "step": _step_ratio(results["stages"], stage, worse),
        "loss": _losses(record, stage),
        "note": record.config["notes"].get(stage, ""),
      }
      for (stage, gain), p in zip(members, adjusted, strict=True)
    ]
  return sorted_rows


def grids(results: dict[str, Any], *, brief: bool = False) -> list[Grid]:
  """A table for each baseline.

  Args:
    results: from `report.summarize`.
    brief: whether to keep only the columns that fit a terminal.
  """
  tables = []
  for worse, rows in results["rankings"].items():
    metric = rows[0]["metric"]
    baseline = results["stages"][worse].get(metric)
    noted = any(row["note"] for row in rows)
    head = [f"over {worse}", metric, *HEAD, *["note"] * noted]
    empty = ["-"] * len(HEAD) + [""] * noted
    lines = [[worse, mean_and_error(baseline), *empty]]
    for row in rows:
      gain, stage = row["gain"], results["stages"][row["stage"]]
      lines.append(
        [
          row["stage"],
          mean_and_error(stage.get(metric)),
          mean_and_error(gain, "+"),
          bounds(gain["interval"], "+"),
          probability(row["holm"]),
          f"{better_seeds(gain)} of {len(gain['seeds'])}",
          "-" if row["step"] is None else f"x{row['step']:.2f}",
          "-"
          if row["loss"] is None
          else "{:.3g} to {:.3g}".format(*row["loss"]),
          *[row["note"]] * noted,
        ]
      )
    if brief:
      kept = [0, 1, *map(head.index, BRIEF)]
      head, *lines = ([line[i] for i in kept] for line in (head, *lines))
    tables.append(Grid(head, lines))
  return tables


def _step_ratio(
  stages: dict[str, Any], stage: str, baseline: str
) -> float | None:
  """The time of a stage's step divided by that of the baseline."""
  rates = [stages[name]["examples_per_second"] for name in (stage, baseline)]
  return rates[1] / rates[0] if all(rates) else None


def _losses(record: Record, stage: str) -> list[float] | None:
  """The first and the last validation loss, means over the seeds."""
  curve = record.curve(stage, "validation/loss")
  ends = [
    [values[pick(values)] for values in curve.values()] for pick in (min, max)
  ]
  if not curve:
    return None
  means = [float(np.mean(values)) for values in ends]
  return means if np.all(np.isfinite(means)) else None
