"""The report of a workdir: written to files and printed to the terminal."""

import dataclasses
import os
import pathlib
from typing import Any

import rich.console

from kdjax.config import progress, strict_json, terminal
from kdjax.config.files import write_atomically
from kdjax.report import (
  contents,
  figures,
  gains,
  mean_ranks,
  page,
  rankings,
  records,
  tidy,
)
from kdjax.report.document import ENDINGS, AbsentError, Drawing
from kdjax.report.figures import _mean_ranks
from kdjax.report.summary import Results, Workdir, read_all, results_of


def write(
  workdir: Workdir, out: Workdir | None = None, *, quiet: bool = True
) -> Results:
  """Writes results.json, numbers.csv, report.md, report.html, figures/.

  Args:
    workdir: the folder of a run, finished or not.
    out: the folder to write to; None is the workdir.
    quiet: whether no progress is shown.

  Returns:
    The same as `summarize`.
  """
  record = records.read(workdir)
  results = results_of(record)
  out = pathlib.Path(out or workdir)
  drawings, left_out = _draw(record, results, out / "figures", quiet)
  links = os.path.relpath(record.path, out)
  links = "" if links == "." else f"{pathlib.Path(links).as_posix()}/"
  document = contents.of_run(record, results, drawings, left_out, links)
  text = strict_json.dumps(results, indent=2) + "\n"
  write_atomically(out / "results.json", text)
  numbers = tidy.text({"": record}, {"": results})
  write_atomically(out / tidy.NAME, numbers)
  _write_page(out, page.markdown(document), page.html(document))
  return results


def compare(
  workdirs: list[Workdir], out: Workdir | None = None
) -> tuple[str, str]:
  """Compares several workdirs: a row for every stage of each.

  Stages that all of them rank against the same baseline have their mean rank.

  Args:
    workdirs: the folders of the runs.
    out: a folder for report.md, report.html, numbers.csv and figures/; None
      writes nothing.

  Returns:
    The comparison in Markdown and as an HTML page.
  """
  opened = read_all(workdirs)
  results = {name: results_of(record) for name, record in opened.items()}
  ranked, drawings = mean_ranks.of_runs(results), []
  if ranked:
    drawing = _mean_ranks.draw(ranked)
    drawings = [dataclasses.replace(drawing, name=_mean_ranks.NAME)]
  pairs = gains.between(opened)
  document = contents.of_several(opened, results, ranked, pairs, drawings)
  markdown, html = page.markdown(document), page.html(document)
  if out is not None:
    folder = pathlib.Path(out) / "figures"
    _remove(folder, _mean_ranks.NAME)
    for drawing in drawings:
      _write_figure(folder, drawing)
    numbers = tidy.text(opened, results)
    write_atomically(pathlib.Path(out) / tidy.NAME, numbers)
    _write_page(pathlib.Path(out), markdown, html)
  return markdown, html


def between(workdirs: list[Workdir]) -> dict[str, Any]:
  """The gains of stages of one workdir over those of another.

  Args:
    workdirs: the folders of the runs.

  Returns:
    See `gains.between`.
  """
  return gains.between(read_all(workdirs))[0]


def show(
  results: Results,
  out: Workdir | None = None,
  console: rich.console.Console | None = None,
  between: dict[str, Any] | None = None,
) -> None:
  """Prints the table, the gains and the path of the page; or events of JSON.

  Args:
    results: from `summarize`.
    out: the folder that the page was written to; None if it was not written.
    console: to print to; None is the standard output.
    between: the gains between several runs, from `gains.between`.
  """
  if terminal.is_json():
    _events(results, between or {})
    return
  console = console or terminal.console()
  grids = [page.grid(results, brief=True)]
  if "stages" not in results:
    grids += mean_ranks.grids(mean_ranks.of_runs(results), brief=True)
  elif results.get("rankings"):
    grids += rankings.grids(results, brief=True)
  for number, grid in enumerate(grids):
    for part in page.fitting(grid, console.width):
      title = None if number else results.get("name")
      terminal.print_table(console, page.terminal_table(part, title))
  by_workdir = results if "stages" not in results else {"": results}
  shown = [
    line
    for name, numbers in by_workdir.items()
    for line in page.gains(numbers, f"{name}: " if name else "", brief=True)
  ]
  shown += page.in_words(between or {}, brief=True)
  for pair, gain, note in shown:
    console.print(f"{pair}: {gain} {note}", soft_wrap=True, highlight=False)
  if out is not None:
    path = pathlib.Path(out) / "report.html"
    console.print(str(path), soft_wrap=True, highlight=False, markup=False)


def _events(results: Results, between: dict[str, Any]) -> None:
  """The tables of `show` as events, a metric or a gain in each."""
  by_workdir = results if "stages" not in results else {None: results}
  for name, of_run in by_workdir.items():
    run = {} if name is None else {"workdir": name}
    for stage, numbers in of_run["stages"].items():
      for metric, number in numbers.items():
        values = number if isinstance(number, dict) else {"value": number}
        keys = {**run, "stage": stage, "metric": metric, **values}
        terminal.event("result", **keys)
    for pair, gain in of_run["gains"].items():
      terminal.event("gain", **run, stages=pair, **gain)
  for pair, gain in between.items():
    terminal.event("gain", stages=pair, **gain)


def _draw(
  record: records.Record, results: Results, folder: pathlib.Path, quiet: bool
) -> tuple[list[Drawing], list[str]]:
  """Draws all figures into a folder; also returns why some are absent."""
  drawings, left_out = [], []
  named = {"unit": "figures", "shown": not quiet}
  found = figures.find().items()
  for name, draw in progress.tracked(found, "report", **named):
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
