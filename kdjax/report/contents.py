"""The sections of a report's page, from a run's records and numbers."""

from typing import Any

from kdjax.config import fields
from kdjax.report import (
  classes,
  gains,
  groups,
  mean_ranks,
  origin,
  page,
  points,
  theme,
  wording,
)
from kdjax.report.document import (
  TEST_RESULTS,
  Document,
  Drawing,
  Grid,
  Section,
)
from kdjax.report.records import Record

# A longer table of versions or of differences is folded.
FOLDED_ROWS = 16

# Before a value that differs from that of the first run.
MARK = "≠ "

_NO_REPEATS = [
  "Metrics with equal values in all seeds share a row; those that end in "
  "`_last` are of the last variables."
]


def of_run(
  record: Record,
  results: dict[str, Any],
  drawings: list[Drawing],
  left_out: list[str],
  links: str = "",
) -> Document:
  """The page of one workdir.

  Args:
    record: the run.
    results: from `report.summarize`.
    drawings: the figures, in the order of the page.
    left_out: a sentence for each figure that is absent.
    links: the path from the page's folder to the workdir; "" is the same.
  """
  seeds = page.seeds(results, record.config["seed"])
  sections = [
    Section(
      TEST_RESULTS,
      sentences=wording.unfinished(results),
      grids=[page.grid(results)],
      drawings=[it for it in drawings if it.section == TEST_RESULTS],
    ),
    gains.section(results),
    classes.section(results),
    groups.section(results),
    *points.sections(record, results),
    *(
      Section(it.section, grids=[*it.tables], drawings=[it])
      for it in drawings
      if it.section != TEST_RESULTS
    ),
    Section("How to read the numbers", wording.facts(record, results)),
    *(_stage(record, stage, results) for stage in record.order),
    Section("Every seed", _NO_REPEATS, grids=[seeds], folded=True),
    *origin.sections(record, links),
  ]
  if left_out:
    sections.append(Section("Left out", left_out))
  return Document(
    title=results["name"],
    subtitle=wording.subtitle(record),
    gains=page.gains(results),
    sections=[section for section in sections if section is not None],
    colours={
      stage: tuple(
        theme.colour(record, stage, look) for look in (theme.LIGHT, theme.DARK)
      )
      for stage in record.order
    },
  )


def of_several(
  records: dict[str, Record],
  results: dict[str, Any],
  ranked: dict[str, Any],
  between: tuple[dict[str, Any], list[str]],
  drawings: list[Drawing],
) -> Document:
  """The page that compares several workdirs.

  Args:
    records: the runs, by the names of their workdirs.
    results: from `report.summarize`, of the same workdirs.
    ranked: from `mean_ranks.of_runs`, of the same workdirs.
    between: from `gains.between`, of the same workdirs.
    drawings: the figure of `ranked`, if there is one.
  """
  found = [
    gain
    for name, it in results.items()
    for gain in page.gains(it, prefix=f"{name}: ")
  ]
  unfinished = [
    f"{name}: {line}"
    for name, it in results.items()
    for line in wording.unfinished(it)
  ]
  runs = [
    [name, record.config["name"], wording.subtitle(record)]
    for name, record in records.items()
  ]
  sections = [
    Section(TEST_RESULTS, sentences=unfinished, grids=[page.grid(results)]),
    gains.section_between(*between),
    mean_ranks.section(ranked, drawings),
    Section("Runs", grids=[Grid(["workdir", "name", "run"], runs, words=3)]),
    _differences(records),
  ]
  return Document(
    title="Comparison",
    subtitle=f"{len(records)} workdirs, measured on their test splits",
    gains=found,
    sections=[section for section in sections if section is not None],
  )


def _stage(record: Record, stage: str, results: dict[str, Any]) -> Section:
  head, rows = wording.terms(record, stage)
  by_class = results.get("by_class", {}).get(stage, {})
  return Section(
    f"Stage {stage}",
    sentences=wording.setup(record, stage),
    grids=[Grid(head, rows, words=len(head)), *classes.grids(by_class)],
    folded=True,
  )


def _differences(records: dict[str, Record]) -> Section:
  """The values of the configs that differ, marked where a run changes them."""
  flat = {name: fields.flatten(it.config) for name, it in records.items()}
  rows = []
  for path in sorted(set().union(*flat.values())):
    values = [wording.text(it.get(path, "(none)")) for it in flat.values()]
    if len(set(values)) > 1:
      marks = ["", *(MARK * (it != values[0]) for it in values[1:])]
      cells = [m + it for m, it in zip(marks, values, strict=True)]
      rows.append([path, *cells])
  first = next(iter(records))
  said = f"{MARK.strip()} marks what differs from {first}. The rest is equal."
  return Section(
    "Differences between the configs",
    sentences=[said] if rows else ["Nothing."],
    grids=[Grid(["path", *records], rows, words=99)] if rows else [],
    folded=len(rows) > FOLDED_ROWS,
  )
