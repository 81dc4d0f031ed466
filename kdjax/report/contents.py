"""What stands on the pages of a report."""

from typing import Any

from kdjax.config import fields
from kdjax.report import page, ranking, robustness, theme, wording
from kdjax.report.page import Document, Grid, Section
from kdjax.report.records import Record
from kdjax.report.theme import Drawing

# Rows of a table of versions, or of differences, that are read at a glance.
MANY = 16


def of_run(
  record: Record,
  results: dict[str, Any],
  drawings: list[Drawing],
  left_out: list[str],
) -> Document:
  """The page of one workdir."""
  first = [drawing for drawing in drawings if drawing.name == "stages"]
  order = [drawing for drawing in drawings if drawing.name == "ranking"]
  others = [d for d in drawings if d not in (*first, *order)]
  every = page.seeds(results, record.config["seed"])
  sections = [
    Section(
      "Test results",
      sentences=wording.unfinished(results),
      grids=[page.grid(results)],
      drawings=first,
    ),
    *(
      Section(drawing.title, grids=ranking.grids(results), drawings=[drawing])
      for drawing in order
    ),
    *(_drawn(drawing, record, results) for drawing in others),
    Section("How to read the numbers", wording.facts(record, results)),
    *(_stage(record, stage) for stage in record.order),
    Section("Every seed", grids=[every], folded=True),
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


def of_several(opened: dict[str, Record], results: dict[str, Any]) -> Document:
  """The page of several workdirs side by side."""
  cards = [
    card
    for name, it in results.items()
    for card in page.gains(it, prefix=f"{name}: ")
  ]
  waiting = [
    f"{name}: {line}"
    for name, it in results.items()
    for line in wording.unfinished(it)
  ]
  runs = [
    [name, record.config["name"], wording.subtitle(record)]
    for name, record in opened.items()
  ]
  flat = {name: fields.flatten(it.config) for name, it in opened.items()}
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
    Section("Test results", sentences=waiting, grids=[page.grid(results)]),
    Section("Runs", grids=[Grid(["workdir", "name", "run"], runs, words=3)]),
    Section(
      "What differs in the configs",
      sentences=[] if rows else ["Nothing."],
      grids=[Grid(["path", *opened], rows, words=99)] if rows else [],
      folded=len(rows) > MANY,
    ),
  ]
  return Document(
    title="Side by side",
    subtitle=f"{len(opened)} workdirs, all on their test splits",
    gains=cards,
    sections=sections,
  )


def _drawn(drawing: Drawing, record: Record, results: dict[str, Any]):
  curves = drawing.name == "robustness"
  grids = robustness.grids(record, results) if curves else []
  return Section(drawing.title, grids=grids, drawings=[drawing])


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
  return Section("Environment", grids=[grid], folded=len(rows) > MANY)


def _again(record: Record) -> Section:
  """What to type to run it again, or further, and to use what it made."""
  # A whole path would be of this machine alone.
  folder = record.name if record.path.is_absolute() else str(record.path)
  stage = record.order[-1]
  command = record.environment.get("command")
  return Section(
    "Again",
    sentences=[
      "The first line runs the experiment, or continues it where it stopped."
      if command
      else "It was run from Python, by `kdjax.run(config, workdir)`.",
      f'In Python, `model, variables = kdjax.restore("{folder}", "{stage}")` '
      "gives the trained student.",
    ],
    commands=[*([command] if command else []), f"kdjax report {folder}"],
  )
