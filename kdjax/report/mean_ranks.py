"""Stages that several runs rank against the same baseline: their mean ranks."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kdjax.report import intervals
from kdjax.report.document import Drawing, Grid, Section
from kdjax.report.theme import bounds

TITLE = "Ranks over the runs"

# Fewer stages are not ranked.
FEWEST = 2

HEAD = ("mean rank", "95 % interval", "mean gain")


def of_runs(results: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
  """The stages that all runs rank, by their mean rank.

  Args:
    results: from `report.summarize`, of several workdirs.

  Returns:
    {baseline: {runs, rows, side, left_out}} of the baselines that all runs
    have. `runs`: names of the workdirs. `rows`: [{stage, ranks, mean, interval,
    gain, better}], the best mean rank first: `ranks` of the gain in each run, 1
    is best and equal gains share the mean of their ranks; `interval`: 95 %, of
    the mean rank over runs; `gain`: its mean over runs, None where their
    metrics differ; `better`: in how many runs the gain's own interval is on the
    better side of 0, "above" or "below", `side`; "beyond" is either.
    `left_out`: stages that not all runs rank.
  """
  runs = [it["rankings"] for it in results.values()]
  if len(runs) < 2:
    return {}
  found = {}
  for worse in runs[0]:
    if not all(worse in of_run for of_run in runs):
      continue
    tables = [{row["stage"]: row for row in of_run[worse]} for of_run in runs]
    names = dict.fromkeys(stage for table in tables for stage in table)
    common = [it for it in names if all(it in table for table in tables)]
    if len(common) < FEWEST:
      continue
    gains = {it: [table[it]["gain"] for table in tables] for it in common}
    signs = [_sign(table[common[0]]["gain"]) for table in tables]
    found[worse] = {
      "runs": list(results),
      "rows": _rows(gains, signs),
      "side": {1: "above", -1: "below"}.get(
        signs[0] if len({*signs}) == 1 else 0, "beyond"
      ),
      "left_out": [it for it in names if it not in common],
    }
  return found


def ranks(values: Sequence[float]) -> list[float]:
  """The rank of each value: 1 is the largest, equal ones share the mean."""
  from scipy.stats import rankdata  # slow to import

  return rankdata(-np.asarray(values)).tolist()


def grids(
  found: Mapping[str, Mapping[str, Any]], *, brief: bool = False
) -> list[Grid]:
  """A table for each baseline.

  Args:
    found: from `of_runs`.
    brief: whether to keep only the columns that fit a terminal.
  """
  tables = []
  for worse, it in found.items():
    head = [f"over {worse}", *HEAD, f"interval {it['side']} 0"]
    head += [f"rank in {run}" for run in it["runs"]]
    lines = [
      [
        row["stage"],
        f"{row['mean']:.2f}",
        bounds(row["interval"], places=2),
        "-" if row["gain"] is None else f"{row['gain']:+.4f}",
        f"{row['better']} of {len(it['runs'])}",
        *(f"{rank:g}" for rank in row["ranks"]),
      ]
      for row in it["rows"]
    ]
    kept = 1 + len(HEAD) if brief else len(head)
    tables.append(Grid(head[:kept], [line[:kept] for line in lines]))
  return tables


def section(
  found: Mapping[str, Mapping[str, Any]], drawings: list[Drawing]
) -> Section | None:
  """The section of a page of several runs; None where nothing is ranked.

  Args:
    found: from `of_runs`.
    drawings: the figure.
  """
  if not found:
    return None
  lines = [
    "Rank 1 is the stage with the best gain over the baseline in a run, among"
    " the stages that all runs compare with it; equal gains share the mean of"
    " their ranks. The interval is Student's, of the mean rank over the runs."
    " The next columns have the gain's mean over the runs, and in how many of"
    " them its own 95 % interval excludes 0 on the better side."
  ]
  lines += [
    f"Not compared with `{worse}` in all runs: {', '.join(it['left_out'])}."
    for worse, it in found.items()
    if it["left_out"]
  ]
  return Section(TITLE, lines, grids=grids(found), drawings=drawings)


def _rows(
  gains: Mapping[str, Sequence[Mapping[str, Any]]], signs: Sequence[int]
) -> list[dict[str, Any]]:
  """The rows of one baseline, see `of_runs`.

  Args:
    gains: stage -> its gain in each run.
    signs: of each run, 1 where more is better, otherwise -1.
  """
  by_run = [
    ranks([sign * it[run]["mean"] for it in gains.values()])
    for run, sign in enumerate(signs)
  ]
  rows = []
  for stage, own, of_stage in zip(
    gains, zip(*by_run, strict=True), gains.values(), strict=True
  ):
    comparable = len({(it["metric"], it["mode"]) for it in of_stage}) == 1
    mean = float(np.mean([it["mean"] for it in of_stage]))
    rows.append(
      {
        "stage": stage,
        "ranks": list(own),
        "mean": float(np.mean(own)),
        "interval": intervals.of_mean(own)["interval"],
        "gain": mean if comparable else None,
        "better": sum(map(_excludes, of_stage)),
      }
    )
  return sorted(rows, key=lambda row: row["mean"])


def _sign(gain: Mapping[str, Any]) -> int:
  return 1 if gain["mode"] == "max" else -1


def _excludes(gain: Mapping[str, Any]) -> bool:
  """Whether the interval of a gain is on the better side of 0."""
  if gain["interval"] is None:
    return False
  return min(_sign(gain) * end for end in gain["interval"]) > 0
