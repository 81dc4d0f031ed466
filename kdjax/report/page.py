"""Tables for the terminal, and a `Document` as Markdown and as HTML."""

import pathlib
import re
from typing import Any

import jinja2
import markupsafe
from rich.table import Table

from kdjax.config import terminal
from kdjax.report import columns
from kdjax.report.document import Document, Grid
from kdjax.report.gains import better_seeds, title_of, unranked
from kdjax.report.selection import ranked
from kdjax.report.theme import DARK, LIGHT, bounds, mean_and_error

TEMPLATE = pathlib.Path(__file__).with_name("page.html.jinja")
SCRIPT = pathlib.Path(__file__).with_name("page.js")

# A link to a file, as in Markdown.
LINK = re.compile(r"\[([^\[\]]+)\]\(([^()\s:]+)\)")

# The contents of a page with more folded sections fold the links to these.
MOST_LINKS = 12

# The least width of a column of notes, whose words may wrap.
NOTE = 24


def table(results: dict[str, Any]) -> Table:
  """The stages as a table for the terminal.

  Args:
    results: from `report.summarize`, of one workdir or of several.
  """
  return terminal_table(grid(results, brief=True), title=results.get("name"))


def terminal_table(grid: Grid, title: str | None = None) -> Table:
  """A grid as a table for the terminal."""
  words = grid.words
  table = terminal.table(
    title or "", grid.head[:words], grid.head[words:], wrapped="note"
  )
  for row in grid.rows:
    table.add_row(*row)
  return table


def fitting(grid: Grid, width: int, gap: int = 1) -> list[Grid]:
  """A grid as one or several that fit a terminal, without a cell wrapped.

  The first column is repeated in each. Notes may be wrapped, and a single
  column that is too wide.

  Args:
    grid: of texts.
    width: of the terminal, in characters.
    gap: characters between columns.
  """
  columns = [*zip(grid.head, *grid.rows, strict=True)]
  needed = [max(map(len, cells)) + gap for cells in columns]
  needed = [
    min(space, NOTE) if cells[0] == "note" else space
    for space, cells in zip(needed, columns, strict=True)
  ]
  parts, used = [[0]], needed[0]
  for column in range(1, len(columns)):
    if used + needed[column] > width and len(parts[-1]) > 1:
      parts.append([0])
      used = needed[0]
    parts[-1].append(column)
    used += needed[column]
  pick = lambda cells, part: [cells[column] for column in part]
  return [
    Grid(
      pick(grid.head, part),
      [pick(row, part) for row in grid.rows],
      sum(column < grid.words for column in part),
    )
    for part in parts
  ]


def markdown_table(results: dict[str, Any]) -> str:
  """The stages as a table in Markdown.

  Args:
    results: from `report.summarize`, of one workdir or of several.
  """
  return _markdown_grid(grid(results))


def grid(results: dict[str, Any], *, brief: bool = False) -> Grid:
  """A row for every stage of one workdir, or of several.

  Args:
    results: from `report.summarize`.
    brief: whether to keep only the columns that fit a terminal.
  """
  if "stages" in results:
    workdirs = [("", results)]
  else:
    workdirs = [(f"{name}/", it) for name, it in results.items()]
  shown = [
    (
      prefix,
      {k: v for k, v in it["stages"].items() if k not in ranked(it)},
      [stage for stage in it["unfinished"] if stage not in ranked(it)],
    )
    for prefix, it in workdirs
  ]
  names = [name for _, it in workdirs for name in it["columns"]]
  metrics = list(dict.fromkeys(names))
  if not brief and metrics:
    # Of the last variables, the first metric.
    last = f"{metrics[0]}_last"
    known = any(last in it for _, of, _ in shown for it in of.values())
    metrics += [last] * known
  head = ["stage", *metrics, *columns.OF_STAGES.values()]
  rows = []
  for prefix, stages, unfinished in shown:
    for stage, numbers in stages.items():
      cells = [mean_and_error(numbers.get(name)) for name in metrics]
      cells += [_plain(numbers[key]) for key in columns.OF_STAGES]
      rows.append([f"{prefix}{stage}", *cells])
    for stage in unfinished:
      empty = ["-"] * (len(head) - 2)
      rows.append([f"{prefix}{stage}", "unfinished", *empty])
  return Grid(head, rows)


def seeds(results: dict[str, Any], first: int) -> Grid:
  """Every metric and gain of every seed; equal metrics share a row.

  Args:
    results: from `report.summarize`, of one workdir.
    first: the first seed.
  """
  rows = []
  for stage, numbers in results["stages"].items():
    equal: dict[tuple, list[str]] = {}
    for name, number in numbers.items():
      if name not in columns.OF_STAGES:
        equal.setdefault(tuple(number["seeds"]), []).append(name)
    rows += [
      [stage, " = ".join(names), *map(_seed, values)]
      for values, names in equal.items()
    ]
  rows += [
    [title_of(name), gain["metric"], *map(_seed, gain["seeds"])]
    for name, gain in results["gains"].items()
  ]
  most = max((len(row) - 2 for row in rows), default=0)
  rows = [row + ["-"] * (2 + most - len(row)) for row in rows]
  names = [f"seed {first + number}" for number in range(most)]
  return Grid(["stage", "number", *names], rows, words=2)


def gains(
  results: dict[str, Any], prefix: str = "", *, brief: bool = False
) -> list[tuple[str, str, str]]:
  """The gains outside of the rankings, in words.

  Args:
    results: from `report.summarize`, of one workdir.
    prefix: begins the name of each gain.
    brief: whether to leave out the interval.

  Returns:
    For each gain: the two stages, the gain, and the metric with the number of
    seeds that are better and the interval of the gain.
  """
  return in_words(unranked(results), prefix, brief=brief)


def in_words(
  found: dict[str, Any], prefix: str = "", *, brief: bool = False
) -> list[tuple[str, str, str]]:
  """Gains in words, see `gains`.

  Args:
    found: "better - worse" -> a gain.
    prefix: begins the name of each.
    brief: whether to leave out the interval.
  """
  lines = []
  for name, gain in found.items():
    count = len(gain["seeds"])
    better = better_seeds(gain)
    note = f"{gain['metric']}, better in {better} of {count} seeds"
    if count == 1:
      note = f"{gain['metric']}, a single seed"
    bootstrap = gain["bootstrap"]
    if gain["interval"] and not brief:
      note += f", 95 % interval {bounds(gain['interval'], '+')}"
    elif bootstrap and not brief:
      note += (
        f", 95 % interval {bounds(bootstrap['interval'], '+')} over"
        f" {bootstrap['examples']:,} test examples"
      )
    title = f"{prefix}{title_of(name)}"
    lines.append((title, mean_and_error(gain, "+"), note))
  return lines


def markdown(document: Document) -> str:
  """A page in Markdown, which links the files of `figures/`."""
  parts = [f"# {document.title}", document.subtitle]
  parts += [
    f"**{name}: {gain}** {note}." for name, gain, note in document.gains
  ]
  for section in document.sections:
    if section.folded:
      parts.append(f"<details>\n<summary>{_escaped(section.title)}</summary>")
    else:
      parts.append(f"## {section.title}")
    if section.sentences:
      parts.append("\n".join(f"- {line}" for line in section.sentences))
    parts += map(_markdown_grid, section.grids)
    for drawing in section.drawings:
      parts.append(f"![{drawing.title}](figures/{drawing.name}.png)")
      parts.append(drawing.caption)
    if section.commands:
      parts.append("\n".join(["```sh", *section.commands, "```"]))
    if section.folded:
      parts.append("</details>")
  return "\n\n".join(part for part in parts if part) + "\n"


def html(document: Document) -> str:
  """A page in HTML; one file that includes its figures."""
  environment = jinja2.Environment(
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
  )
  environment.filters["code"] = _code
  # A title as a name in a link to its section.
  environment.filters["anchor"] = lambda it: re.sub(r"\W+", "-", it.lower())
  template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
  return template.render(
    document=document,
    most_links=MOST_LINKS,
    colours=[(it, LIGHT.colours[it], DARK.colours[it]) for it in LIGHT.colours],
    script=SCRIPT.read_text(encoding="utf-8"),
  )


def _markdown_grid(grid: Grid) -> str:
  rules = [
    ":--" if column < grid.words else "--:" for column in range(len(grid.head))
  ]
  return "\n".join(
    "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
    for row in [grid.head, rules, *grid.rows]
  )


def _code(text: str) -> markupsafe.Markup:
  """Text with <code> in place of backquotes, and links of Markdown."""
  escaped = re.sub(r"`([^`]+)`", r"<code>\1</code>", _escaped(text))
  linked = re.sub(LINK, r'<a href="\2">\1</a>', escaped)
  return markupsafe.Markup(linked)


def _escaped(text: str) -> str:
  return str(markupsafe.escape(text))


def _plain(value: float | None) -> str:
  if value is None:
    return "-"
  return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.4g}"


def _seed(value: float | None) -> str:
  return "not finite" if value is None else f"{value:.4f}"
