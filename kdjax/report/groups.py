"""Results by group of examples: numbers, table and sentences of a report."""

from typing import Any

from kdjax.report.document import Grid, Section
from kdjax.report.numbers import mean_and_std, of_known
from kdjax.report.records import Record
from kdjax.report.theme import mean_and_error

# The metric of a group of fewer examples is marked: one example changes an
# accuracy by 0.05 or more.
FEW = 20
MARK = "*"

# A longer table is folded.
FOLDED_ROWS = 16

# What the text says of a metric's name.
UNITS = {"accuracy": "accuracy", "nll": "NLL"}


def of_stages(record: Record) -> dict[str, Any]:
  """The numbers by group of every stage that has them, see `of_stage`."""
  return {
    stage: of_stage(result["by_group"])
    for stage, result in record.results.items()
    if result.get("by_group")
  }


def of_stage(measured: dict[str, Any]) -> dict[str, Any]:
  """The numbers by group of a stage.

  Args:
    measured: `by_group` of its result.json.

  Returns:
    metric, mode: as there.
    worst, gap: {mean, std, seeds}: of each seed its worst group, and the best
      group's difference to it.
    groups: [{name, examples: [per seed], mean, std, seeds}], the worst first. A
      seed without the group has None and does not count in the mean.
  """
  groups = [
    {"name": it["name"], "examples": it["count"], **of_known(it["values"])}
    for it in measured["groups"]
  ]
  sign = 1 if measured["mode"] == "max" else -1
  known = [it for it in groups if it["mean"] is not None]
  return {
    "metric": measured["metric"],
    "mode": measured["mode"],
    "worst": mean_and_std(measured["worst"]),
    "gap": mean_and_std(measured["gap"]),
    "groups": sorted(known, key=lambda it: sign * it["mean"])
    + [it for it in groups if it["mean"] is None],
  }


def section(results: dict[str, Any]) -> Section | None:
  """The section of a page on groups; None where no stage has them.

  Args:
    results: from `report.summarize`, of one workdir.
  """
  stages = results.get("by_group")
  if not stages:
    return None
  table = grid(stages)
  return Section(
    "Test results by group",
    sentences=_sentences(stages),
    grids=[table],
    folded=len(table.rows) > FOLDED_ROWS,
  )


def grid(stages: dict[str, Any]) -> Grid:
  """A row for every group, the worst of the last stage first.

  Args:
    stages: stage -> its numbers by group.
  """
  last = list(stages.values())[-1]
  order = [it["name"] for it in last["groups"]]
  columns = {
    stage: {it["name"]: it for it in numbers["groups"]}
    for stage, numbers in stages.items()
  }
  order += [name for it in columns.values() for name in it]
  rows = []
  for name in dict.fromkeys(order):
    of_group = [column.get(name) for column in columns.values()]
    examples = next(it["examples"] for it in of_group if it)
    mark = MARK if min(filter(None, examples), default=0) < FEW else ""
    rows.append(
      [f"{name}{mark}", _range(examples), *map(mean_and_error, of_group)]
    )
  for words, key in (("worst group", "worst"), ("best - worst", "gap")):
    cells = [mean_and_error(numbers[key]) for numbers in stages.values()]
    rows.append([words, "", *cells])
  return Grid(["group", "examples", *stages], rows)


def _sentences(stages: dict[str, Any]) -> list[str]:
  lines = []
  for stage, numbers in stages.items():
    unit = UNITS.get(numbers["metric"], numbers["metric"])
    worst, gap = (mean_and_error(numbers[key]) for key in ("worst", "gap"))
    lines.append(
      f"`{stage}`: {unit} {worst} in the worst of {_range(_tested(numbers))}"
      f" groups, {gap} from the best."
    )
  last = list(stages)[-1]
  lines.append(
    f"Groups are in the order of `{last}`, the worst first. The worst group and"
    " the gap are those of each seed, then averaged; where seeds draw the test"
    " examples, a group's mean is over the seeds that have it."
  )
  small = any(
    min(filter(None, it["examples"]), default=0) < FEW
    for numbers in stages.values()
    for it in numbers["groups"]
  )
  if small:
    lines.append(
      f"{MARK} fewer than {FEW} test examples: the number is uncertain, and may"
      " be that of the worst group by chance."
    )
  return lines


def _tested(numbers: dict[str, Any]) -> list[int]:
  """How many groups each seed has test examples of."""
  counts = [it["examples"] for it in numbers["groups"]]
  return [sum(map(bool, of_seed)) for of_seed in zip(*counts, strict=True)]


def _range(counts: list[int]) -> str:
  """The least and the most of the seeds that have any."""
  known = [count for count in counts if count]
  if not known:
    return "0"
  least, most = min(known), max(known)
  return f"{least:,}" if least == most else f"{least:,} to {most:,}"
