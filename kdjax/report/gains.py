"""Gains: differences of two stages, paired by seed, with their intervals."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from kdjax.report import intervals, paired
from kdjax.report.bootstrap import Bootstrap
from kdjax.report.document import Grid, Section
from kdjax.report.records import Record
from kdjax.report.selection import ranked
from kdjax.report.theme import bounds, mean_and_error

Gain = dict[str, Any]

TITLE, BETWEEN = "Gains", "Gains between the runs"

# The head of the column that a table without such intervals lacks.
EXAMPLES = "95 %: seeds and examples"
HEAD = (
  "metric",
  "mean ± standard error",
  "95 %: seeds",
  EXAMPLES,
  "p",
  "Holm p",
  "seeds better",
)

# The least p value that is written as a number.
LEAST = 0.001


def of_run(record: Record) -> dict[str, Gain]:
  """The pairs of the config's `gains` of which both stages are finished.

  Args:
    record: the run.

  Returns:
    {"better - worse": {metric, mode, mean, stderr, seeds, interval, p: see
    `intervals.of_mean`, bootstrap: see `Bootstrap.gain`}}.
  """
  resamples, found = Bootstrap({"": record}), {}
  for better, worse in record.config["gains"]:
    gain = _gain(resamples, ("", better), ("", worse))
    if gain is not None:
      found[f"{better} - {worse}"] = gain
  return found


def adjusted(gains: Mapping[str, Gain], among: Sequence[str]) -> None:
  """Adds to each gain `holm`: its p value, adjusted for all of them.

  Args:
    gains: name -> a gain.
    among: names of those that are compared with each other.
  """
  values = intervals.holm([gains[name]["p"] for name in among])
  for name, value in zip(among, values, strict=True):
    gains[name]["holm"] = value


def between(
  records: Mapping[str, Record],
) -> tuple[dict[str, Gain], list[str]]:
  """Each stage less the stage of the same name of another run.

  Only of the same seeds and test examples, by the hash of these.

  Args:
    records: name -> a run, at least two.

  Returns:
    {"run/stage - other/stage": as of `of_run`, with holm}, each later run less
    each earlier one; and a sentence for each stage that is in both and is not
    compared.
  """
  resamples, found, sentences = Bootstrap(records), {}, []
  for (old, before), (new, after) in itertools.combinations(records.items(), 2):
    for stage in (it for it in after.results if it in before.results):
      why = _differ(before, after, stage)
      if why:
        sentences.append(f"`{stage}` of {new} and {old} has {why}.")
        continue
      gain = _gain(resamples, (new, stage), (old, stage))
      if gain is not None:
        found[f"{new}/{stage} - {old}/{stage}"] = gain
  adjusted(found, list(found))
  return found, sentences


def better_seeds(gain: Gain) -> int:
  """In how many seeds the first stage is better."""
  sign = 1 if gain["mode"] == "max" else -1
  return sum(sign * (value or 0) > 0 for value in gain["seeds"])


def section(results: Mapping[str, Any]) -> Section | None:
  """The section of a page on the gains outside of the rankings.

  Args:
    results: from `report.summarize`, of one workdir.
  """
  shown = unranked(results)
  return Section(TITLE, grids=[grid(shown)]) if shown else None


def section_between(
  found: Mapping[str, Gain], sentences: Sequence[str]
) -> Section | None:
  """The section of a page of several runs.

  Args:
    found: from `between`.
    sentences: from `between`.
  """
  if not (found or sentences):
    return None
  lines = list(sentences)
  if found:
    lines.insert(
      0,
      "A stage of one run less the same stage of another, paired by seed, of"
      " runs with the same seeds and the same test examples. Holm p is adjusted"
      " for all rows. The interval over seeds is Student's, that over seeds"
      " and examples a paired bootstrap.",
    )
  return Section(BETWEEN, lines, grids=[grid(found)] if found else [])


def unranked(results: Mapping[str, Any]) -> dict[str, Gain]:
  """The gains that no ranking has."""
  stages = ranked(results)
  return {
    name: gain
    for name, gain in results["gains"].items()
    if name.partition(" - ")[0] not in stages
  }


def grid(found: Mapping[str, Gain]) -> Grid:
  """A row for each gain: its intervals, p values and seeds."""
  rows = [
    [
      title_of(name),
      gain["metric"],
      mean_and_error(gain, "+"),
      bounds(gain["interval"], "+"),
      bounds((gain["bootstrap"] or {}).get("interval"), "+"),
      probability(gain["p"]),
      probability(gain.get("holm")),
      f"{better_seeds(gain)} of {len(gain['seeds'])}",
    ]
    for name, gain in found.items()
  ]
  head = ["gain", *HEAD]
  if not any(gain["bootstrap"] for gain in found.values()):
    # No gain has the interval over examples.
    column = head.index(EXAMPLES)
    head, *rows = ([*it[:column], *it[column + 1 :]] for it in (head, *rows))
  return Grid(head, rows, words=2)


def title_of(name: str) -> str:
  """The name of a gain, "better - worse", as text."""
  return name.replace(" - ", " over ")


def probability(p: float | None) -> str:
  """A p value as text."""
  if p is None:
    return "-"
  return f"{p:.3f}" if p >= LEAST else f"< {LEAST:g}"


def _gain(
  resamples: Bootstrap, better: tuple[str, str], worse: tuple[str, str]
) -> Gain | None:
  """The gain of one stage over another, each with its run."""
  records = [resamples.records[run] for run, _ in (better, worse)]
  stages = [stage for _, stage in (better, worse)]
  if any(
    stage not in it.results for it, stage in zip(records, stages, strict=True)
  ):
    return None
  knobs = records[0].config["stages"][stages[0]]
  metric = knobs["select"]
  results = [
    it.results[stage] for it, stage in zip(records, stages, strict=True)
  ]
  values = [it["test"]["best"].get(metric, []) for it in results]
  difference = paired.difference(results, values)
  if difference is None:
    return None
  std, count = difference.pop("std"), len(difference["seeds"])
  return {
    "metric": metric,
    "mode": knobs["select_mode"],
    "stderr": None if std is None else std / math.sqrt(count),
    **difference,
    "bootstrap": resamples.gain(better, worse, metric),
  }


def _differ(before: Record, after: Record, stage: str) -> str:
  """Why a stage of two runs cannot be compared; "" if it can."""
  if [*before.results[stage]["seeds"]] != [*after.results[stage]["seeds"]]:
    return "other seeds"
  selects = [it.config["stages"][stage]["select"] for it in (before, after)]
  if selects[0] != selects[1]:
    return "another metric that selects"
  tested = [it.tested(stage) for it in (before, after)]
  if None in tested:
    return "no hash of its test examples"
  return "" if tested[0] == tested[1] else "other test examples"
