"""numbers.csv: all numbers of a report, one in each row.

  stage, baseline, seed, split, variables, metric, class, condition, value

A row is a number of one seed. `baseline` is the stage that a gain is over.
`variables` are best or last. `condition` is a group of examples, a subset of
modalities, a level of a corruption or a point of a grid; empty is none. An
empty value is not finite.
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from kdjax.report import columns
from kdjax.report.records import Record

NAME = "numbers.csv"

COLUMNS = (
  "stage",
  "baseline",
  "seed",
  "split",
  "variables",
  "metric",
  "class",
  "condition",
  "value",
)

Row = dict[str, Any]


def text(
  records: Mapping[str, Record], results: Mapping[str, Mapping[str, Any]]
) -> str:
  """The file of one run or of several; several have a column `workdir`.

  Args:
    records: name -> a run.
    results: name -> its numbers.
  """
  several = len(records) > 1
  file = io.StringIO()
  head = [*["workdir"] * several, *COLUMNS]
  writer = csv.DictWriter(file, head, restval="", lineterminator="\n")
  writer.writeheader()
  for name, record in records.items():
    of_run = {"workdir": name} if several else {}
    for row in rows(record, results[name]):
      writer.writerow(of_run | row | {"value": _value(row["value"])})
  return file.getvalue()


def rows(record: Record, results: Mapping[str, Any]) -> Iterator[Row]:
  """The rows of a run: by stage, then the gains.

  Args:
    record: the run.
    results: its numbers.
  """
  for stage, result in record.results.items():
    for row in _of_stage(result):
      yield {"stage": stage, **row}
  for name, gain in results["gains"].items():
    better, _, worse = name.partition(" - ")
    at = {"stage": better, "baseline": worse, "split": "test"}
    at |= {"variables": "best", "metric": gain["metric"]}
    ours, theirs = (record.results[it]["seeds"] for it in (better, worse))
    seeds = [it for it in ours if it in theirs]
    yield from _per_seed(at, seeds, gain["seeds"])


def _of_stage(result: Mapping[str, Any]) -> Iterator[Row]:
  seeds = result["seeds"]
  for which, metrics in result["test"].items():
    at = {"split": "test", "variables": which}
    yield from _metrics(at, seeds, metrics)
  best = {"split": "validation", "variables": "best"}
  yield from _metrics(best, seeds, result.get("validation", {}).get("best", {}))
  yield from _per_seed({"metric": "best_step"}, seeds, result["best_step"])
  at = {"split": "test", "variables": "best"}
  for start, found in (result.get("by_class") or {}).items():
    for k, name in enumerate(found["classes"]):
      for metric in ("precision", "recall", "f1", "support"):
        where = {**at, "metric": f"{start}{metric}", "class": name}
        yield from _per_seed(where, seeds, [it[k] for it in found[metric]])
  groups = result.get("by_group") or {}
  for group in groups.get("groups", ()):
    where = {**at, "condition": f"group={group['name']}"}
    yield from _metrics(where, seeds, {groups["metric"]: group["values"]})
  for subset, metrics in (result.get("subsets") or {}).items():
    yield from _metrics({**at, "condition": f"only={subset}"}, seeds, metrics)
  for name, found in (result.get("robustness") or {}).items():
    for number, level in enumerate(found["levels"]):
      where = {**at, "condition": f"{name}={level:g}"}
      of_level = {
        key: values[number]
        for key, values in found.items()
        if key not in ("levels", "sweeps")
      }
      yield from _metrics(where, seeds, of_level)
  for point in result.get("grid") or ():
    words = ";".join(f"{key}={value:g}" for key, value in point["at"].items())
    measured = {k: v for k, v in point.items() if k not in ("at", "validation")}
    yield from _metrics({**at, "condition": words}, seeds, measured)
  count = result["parameters"].get("student")
  of_all = {"parameters": count} | {
    key: result.get(key) for key in columns.OF_STAGES if key != "parameters"
  }
  for metric, value in of_all.items():
    yield {"metric": metric, "value": value}


def _metrics(
  at: Row, seeds: Sequence[int], metrics: Mapping[str, Sequence[Any]]
) -> Iterator[Row]:
  for metric, values in metrics.items():
    yield from _per_seed({**at, "metric": metric}, seeds, values)


def _per_seed(
  at: Row, seeds: Sequence[int], values: Sequence[Any]
) -> Iterator[Row]:
  """A row for each seed; none where the values are no single numbers."""
  if any(np.ndim(value) for value in values if value is not None):
    return
  for seed, value in zip(seeds, values, strict=False):
    yield {**at, "seed": seed, "value": value}


def _value(value: float | None) -> str:
  """A number that reads back as it is; "" where it is not finite."""
  if value is None or not np.isfinite(value):
    return ""
  return repr(float(value)) if isinstance(value, float) else str(value)
