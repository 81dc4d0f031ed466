"""The report of a workdir: written to files and printed to the terminal."""

import dataclasses
import pathlib

import rich.console

from kdjax.config import strict_json
from kdjax.config.files import write_atomically
from kdjax.report import (
  contents,
  figures,
  mean_ranks,
  page,
  rankings,
  records,
)
from kdjax.report.document import ENDINGS, AbsentError, Drawing
from kdjax.report.figures import _mean_ranks
from kdjax.report.summary import Results, Workdir, read_all, results_of


def write(workdir: Workdir, out: Workdir | None = None) -> Results:
  """Writes results.json, report.md, report.html and figures/.

  Args:
    workdir: the folder of a run, finished or not.
    out: the folder to write to; None is the workdir.

  Returns:
    The same as `summarize`.
  """
  record = records.read(workdir)
  results = results_of(record)
  out = pathlib.Path(out or workdir)
  drawings, left_out = _draw(record, results, out / "figures")
  document = contents.of_run(record, results, drawings, left_out)
  text = strict_json.dumps(results, indent=2) + "\n"
  write_atomically(out / "results.json", text)
  _write_page(out, page.markdown(document), page.html(document))
  return results


def compare(
  workdirs: list[Workdir], out: Workdir | None = None
) -> tuple[str, str]:
  """Compares several workdirs: a row for every stage of each.

  Stages that all of them rank against the same baseline have their mean rank.

  Args:
    workdirs: the folders of the runs.
    out: a folder for report.md, report.html and figures/; None writes nothing.

  Returns:
    The comparison in Markdown and as an HTML page.
  """
  opened = read_all(workdirs)
  results = {name: results_of(record) for name, record in opened.items()}
  ranked, drawings = mean_ranks.of_runs(results), []
  if ranked:
    drawing = _mean_ranks.draw(ranked)
    drawings = [dataclasses.replace(drawing, name=_mean_ranks.NAME)]
  document = contents.of_several(opened, results, ranked, drawings)
  markdown, html = page.markdown(document), page.html(document)
  if out is not None:
    folder = pathlib.Path(out) / "figures"
    _remove(folder, _mean_ranks.NAME)
    for drawing in drawings:
      _write_figure(folder, drawing)
    _write_page(pathlib.Path(out), markdown, html)
  return markdown, html


def show(
  results: Results,
  out: Workdir | None = None,
  console: rich.console.Console | None = None,
) -> None:
  """Prints the table, the gains and the path of the page.

  Args:
    results: from `summarize`.
    out: the folder that the page was written to; None if it was not written.
    console: to print to; None is the standard output.
  """
  console = console or rich.console.Console()
  grids = [page.grid(results, brief=True)]
  if "stages" not in results:
    grids += mean_ranks.grids(mean_ranks.of_runs(results), brief=True)
  elif results.get("rankings"):
    grids += rankings.grids(results, brief=True)
  for number, grid in enumerate(grids):
    for part in page.fitting(grid, console.width):
      title = None if number else results.get("name")
      console.print(page.terminal_table(part, title))
  by_workdir = results if "stages" not in results else {"": results}
  for name, numbers in by_workdir.items():
    prefix = f"{name}: " if name else ""
    for pair, gain, note in page.gains(numbers, prefix, brief=True):
      console.print(f"{pair}: {gain} {note}", soft_wrap=True, highlight=False)
  if out is not None:
    path = pathlib.Path(out) / "report.html"
    console.print(str(path), soft_wrap=True, highlight=False, markup=False)


def _draw(
  record: records.Record, results: Results, folder: pathlib.Path
) -> tuple[list[Drawing], list[str]]:
  """Draws all figures into a folder; also returns why some are absent."""
  drawings, left_out = [], []
  for name, draw in figures.find().items():
    try:
      drawing = dataclasses.replace(draw(record, results), name=name)
    except AbsentError as error:
      left_out += filter(None, [str(error)])
      _remove(folder, name)
      continue
    _write_figure(folder, drawing)
    drawings.append(drawing)
  return drawings, left_out


def _remove(folder: pathlib.Path, name: str) -> None:
  """Deletes a figure of an earlier report, which does not fit this one."""
  for ending in ENDINGS:
    (folder / f"{name}{ending}").unlink(missing_ok=True)


def _write_figure(folder: pathlib.Path, drawing: Drawing) -> None:
  for name, content in drawing.files().items():
    write_atomically(folder / name, content)


def _write_page(out: pathlib.Path, markdown: str, html: str) -> None:
  write_atomically(out / "report.md", markdown)
  write_atomically(out / "report.html", html)
