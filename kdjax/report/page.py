"""A report as a table, as Markdown and as one page of HTML.

Markdown and HTML are two renderings of one `Document`.
"""

import base64
import dataclasses
import pathlib
import re
from typing import Any

import jinja2
import markupsafe
from rich import box
from rich.table import Table

from kdjax.report.theme import Drawing, spread

TEMPLATE = pathlib.Path(__file__).with_name("page.html.jinja")

# Of a stage, beside its metrics: key -> how a column is headed.
PLAIN = {
  "parameters": "parameters",
  "examples_per_second": "examples/s",
  "seconds": "seconds",
}


@dataclasses.dataclass(frozen=True)
class Grid:
  """A table of words."""

  head: list[str]
  rows: list[list[str]]
  # Columns to the left of this one hold words, the others numbers.
  words: int = 1


@dataclasses.dataclass(frozen=True)
class Section:
  """A part of a page, in this order; what is empty is left out."""

  title: str
  sentences: list[str] = dataclasses.field(default_factory=list)
  grids: list[Grid] = dataclasses.field(default_factory=list)
  drawings: list[Drawing] = dataclasses.field(default_factory=list)
  commands: list[str] = dataclasses.field(default_factory=list)
  folded: bool = False


@dataclasses.dataclass(frozen=True)
class Document:
  """A page."""

  title: str
  subtitle: str
  # What each gain is, and how much.
  gains: list[tuple[str, str, str]]
  sections: list[Section]
  # stage -> its colour on a light and on a dark page
  colours: dict[str, tuple[str, str]] = dataclasses.field(default_factory=dict)


def table(results: dict[str, Any]) -> Table:
  """The stages as a table for the terminal.

  Args:
    results: of `report.summarize`, of one workdir or of several.
  """
  return drawn(grid(results, brief=True), title=results.get("name"))


def drawn(made: Grid, title: str | None = None) -> Table:
  """A table of words for the terminal."""
  table = Table(
    title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 0, 0, 1)
  )
  for place, name in enumerate(made.head):
    side = "left" if place < made.words or name == "note" else "right"
    table.add_column(name, justify=side, overflow="fold", no_wrap=not place)
  for row in made.rows:
    table.add_row(*row)
  return table


def markdown_table(results: dict[str, Any]) -> str:
  """The same table in Markdown."""
  return _markdown_grid(grid(results))


def grid(results: dict[str, Any], *, brief: bool = False) -> Grid:
  """A row for every stage: of one workdir, or of each of several.

  Args:
    results: of `report.summarize`.
    brief: what fits a terminal.
  """
  if "stages" in results:
    named = [("", results)]
  else:
    named = [(f"{name}/", it) for name, it in results.items()]
  # What is ranked has a table of its own.
  shown = [
    (
      prefix,
      {k: v for k, v in it["stages"].items() if k not in ranked(it)},
      [stage for stage in it["unfinished"] if stage not in ranked(it)],
    )
    for prefix, it in named
  ]
  columns = _columns([stages for _, stages, _ in shown])
  if brief:
    columns = [name for name in columns if not name.endswith("_last")]
  head = ["stage", *columns, *PLAIN.values()]
  rows = []
  for prefix, stages, unfinished in shown:
    for stage, numbers in stages.items():
      cells = [spread(numbers.get(name)) for name in columns]
      cells += [_plain(numbers[key]) for key in PLAIN]
      rows.append([f"{prefix}{stage}", *cells])
    for stage in unfinished:
      empty = ["-"] * (len(head) - 2)
      rows.append([f"{prefix}{stage}", "unfinished", *empty])
  return Grid(head, rows)


def ranked(results: dict[str, Any]) -> set[str]:
  """The stages that stand in a ranking, and those before them of a method."""
  names = [
    row["stage"]
    for rows in results.get("rankings", {}).values()
    for row in rows
  ]
  return {
    stage
    for stage in (*results["stages"], *results["unfinished"])
    for name in names
    if stage == name or re.fullmatch(rf"{re.escape(name)}-\d+", stage)
  }


def seeds(results: dict[str, Any], first: int) -> Grid:
  """Every number of every seed, counted from the first one."""
  rows = [
    [stage, name, *map(_seed, number["seeds"])]
    for stage, numbers in results["stages"].items()
    for name, number in numbers.items()
    if name not in PLAIN
  ]
  rows += [
    [name, gain["metric"], *map(_seed, gain["seeds"])]
    for name, gain in results["gains"].items()
  ]
  most = max((len(row) - 2 for row in rows), default=0)
  rows = [row + ["-"] * (2 + most - len(row)) for row in rows]
  head = [
    "stage",
    "number",
    *(f"seed {first + place}" for place in range(most)),
  ]
  return Grid(head, rows, words=2)


def gains(results: dict[str, Any], prefix: str = "") -> list:
  """Of each gain: what it is, how much, and in how many seeds."""
  cards, inside = [], ranked(results)
  for name, gain in results["gains"].items():
    if name.partition(" - ")[0] in inside:
      continue
    sign = 1 if gain["mode"] == "max" else -1
    better = sum(
      1 for value in gain["seeds"] if value is not None and sign * value > 0
    )
    count = len(gain["seeds"])
    note = f"{gain['metric']}, better in {better} of {count} seeds"
    if count == 1:
      note = f"{gain['metric']}, a single seed"
    title = f"{prefix}{name.replace(' - ', ' over ')}"
    cards.append((title, spread(gain, "+"), note))
  return cards


def markdown(document: Document) -> str:
  """The page in Markdown; its figures lie beside it, in `figures`."""
  parts = [f"# {document.title}", document.subtitle]
  parts += [
    f"**{name}: {much}** {note}." for name, much, note in document.gains
  ]
  for section in document.sections:
    parts.append(f"## {section.title}")
    if section.sentences:
      parts.append("\n".join(f"- {line}" for line in section.sentences))
    parts += map(_markdown_grid, section.grids)
    for drawing in section.drawings:
      parts.append(f"![{drawing.title}](figures/{drawing.name}.png)")
      parts.append(drawing.caption)
    if section.commands:
      parts.append("\n".join(["```sh", *section.commands, "```"]))
  return "\n\n".join(part for part in parts if part) + "\n"


def html(document: Document) -> str:
  """The page in HTML, with everything it shows inside it."""
  environment = jinja2.Environment(
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
  )
  environment.filters["base64"] = lambda data: base64.b64encode(data).decode()
  environment.filters["code"] = _code
  template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
  return template.render(document=document)


# What is for those who look at every seed: the last variables, the terms'
# losses, and further numbers of a family whose first ones head columns.
DETAIL = re.compile(
  r"_last$|^loss/|_(macro|micro|weighted)$|^balanced_|accuracy_top\d|^brier$"
  r"|_recall_\d+$|_median_rank$|^rmse$|^mae$|^hamming"
)


def _columns(finished: list[dict[str, Any]]) -> list[str]:
  """Metrics to head columns: of the best variables, and accuracy at the end."""
  known = dict.fromkeys(
    name
    for stages in finished
    for numbers in stages.values()
    for name in numbers
    if name not in PLAIN
  )
  best = [name for name in known if not DETAIL.search(name)]
  # The first columns are those that every report has.
  first = [name for name in ("accuracy", "nll") if name in best]
  best = first + [name for name in best if name not in first]
  return best + [f"{name}_last" for name in best[:1] if f"{name}_last" in known]


def _markdown_grid(made: Grid) -> str:
  rules = [":--" if at < made.words else "--:" for at in range(len(made.head))]
  return "\n".join(
    "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
    for row in [made.head, rules, *made.rows]
  )


def _code(text: str) -> markupsafe.Markup:
  """What stands in backquotes as code."""
  escaped = str(markupsafe.escape(text))
  return markupsafe.Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", escaped))


def _plain(value: float | None) -> str:
  if value is None:
    return "-"
  return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.4g}"


def _seed(value: float | None) -> str:
  return "not finite" if value is None else f"{value:.4f}"
