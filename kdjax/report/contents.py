"""The sections of a report's page, from a run's records and numbers."""

from typing import Any

from kdjax.config import fields
from kdjax.report import groups, mean_ranks, page, points, theme, wording
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


def of_run(
  record: Record,
  results: dict[str, Any],
  drawings: list[Drawing],
  left_out: list[str],
) -> Document:
  """The page of one workdir.

  Args:
    record: the run.
    results: from `report.summarize`.
    drawings: the figures, in the order of the page.
    left_out: a sentence for each figure that is absent.
  """
  seeds = page.seeds(results, record.config["seed"])
  sections = [
    Section(
      TEST_RESULTS,
      sentences=wording.unfinished(results),
      grids=[page.grid(results)],
      drawings=[it for it in drawings if it.section == TEST_RESULTS],
    ),
    groups.section(results),
    *points.sections(record, results),
    *(
      Section(it.section, grids=[*it.tables], drawings=[it])
      for it in drawings
      if it.section != TEST_RESULTS
    ),
    Section("How to read the numbers", wording.facts(record, results)),
    *(_stage(record, stage) for stage in record.order),
    Section("Every seed", grids=[seeds], folded=True),
    _environment(record),
    _again(record),
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
  drawings: list[Drawing],
) -> Document:
  """The page that compares several workdirs.

  Args:
    records: the runs, by the names of their workdirs.
    results: from `report.summarize`, of the same workdirs.
    ranked: from `mean_ranks.of_runs`, of the same workdirs.
    drawings: the figure of `ranked`, if there is one.
  """
  gains = [
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
  flat = {name: fields.flatten(it.config) for name, it in records.items()}
  paths = sorted(set().union(*flat.values()))
  rows = [
    [
      path,
      *(wording.text(leaves.get(path, "(none)")) for leaves in flat.values()),
    ]
    for path in paths
  ]
  rows = [row for row in rows if len(set(row[1:])) > 1]
  sections = [
    Section(TEST_RESULTS, sentences=unfinished, grids=[page.grid(results)]),
    mean_ranks.section(ranked, drawings),
    Section("Runs", grids=[Grid(["workdir", "name", "run"], runs, words=3)]),
    Section(
      "Differences between the configs",
      sentences=[] if rows else ["Nothing."],
      grids=[Grid(["path", *records], rows, words=99)] if rows else [],
      folded=len(rows) > FOLDED_ROWS,
    ),
  ]
  return Document(
    title="Comparison",
    subtitle=f"{len(records)} workdirs, measured on their test splits",
    gains=gains,
    sections=[section for section in sections if section is not None],
  )


def _stage(record: Record, stage: str) -> Section:
  head, rows = wording.terms(record, stage)
  return Section(
    f"Stage {stage}",
    sentences=wording.setup(record, stage),
    grids=[Grid(head, rows, words=len(head))],
    folded=True,
  )


def _environment(record: Record) -> Section | None:
  leaves = fields.flatten(record.environment)
  rows = [
    [path, wording.text(value)]
    for path, value in leaves.items()
    if value is not None
  ]
  if not rows:
    return None
  grid = Grid(["environment", "value"], rows, words=2)
  return Section("Environment", grids=[grid], folded=len(rows) > FOLDED_ROWS)


def _again(record: Record) -> Section:
  """The commands that run the experiment again and use its student."""
  # An absolute path would be valid on this machine only.
  folder = record.name if record.path.is_absolute() else str(record.path)
  stage = record.order[-1]
  command = record.environment.get("command")
  return Section(
    "Run it again",
    sentences=[
      "The first line runs the experiment, or continues it where it stopped."
      if command
      else "It was run from Python with `kdjax.run(config, workdir)`.",
      f'In Python, `model, variables = kdjax.restore("{folder}", "{stage}")` '
      "loads the trained student.",
    ],
    commands=[*([command] if command else []), f"kdjax report {folder}"],
  )
