"""From a workdir's files to its numbers, its table and its page.

Reads what runs wrote and no more: no network, no device. The test split is
looked at here for the first time; nothing was selected on it.
"""

import math
import pathlib
from typing import Any

import numpy as np
import rich.console

from kdjax.config import strict_json
from kdjax.errors import UserError
from kdjax.report import (
  confusion,
  contents,
  examples,
  figures,
  page,
  ranking,
  records,
  robustness,
)
from kdjax.report.page import markdown_table, table
from kdjax.report.theme import AbsentError

__all__ = ["compare", "markdown_table", "show", "summarize", "table", "write"]

Results = dict[str, Any]
Workdir = str | pathlib.Path

# In the order of the page.
FIGURES = (
  ranking.ranking,
  figures.stages,
  figures.curves,
  robustness.robustness,
  examples.examples,
  confusion.confusion,
)


def summarize(workdirs: Workdir | list[Workdir]) -> Results:
  """The numbers of a workdir, or of several.

  Args:
    workdirs: one workdir, or a list of them.

  Returns:
    Of one: name, seeds, stages: {stage: {metric: {mean, std, seeds},
    parameters, examples_per_second, seconds}}, gains: {"better - worse":
    {metric, mode, mean, stderr, seeds}}, rankings: as `ranking.rankings`, and
    robustness: {stage: {corruption: {levels, metric: [[a value a seed] a
    level]}}}, unfinished: {stage: {step, steps}}; and where a stage has a grid,
    grids: {stage: [{at, metric: [a value a seed]} of each point]}. A metric is
    of each seed's best variables on the test split, `<metric>_last` of its last
    ones. What does not exist, such as the deviation of one seed, is None. Of a
    list: {workdir's name: the above}.
  """
  if isinstance(workdirs, str | pathlib.Path):
    return _results(records.read(workdirs))
  return {name: _results(it) for name, it in _read_all(workdirs).items()}


def write(workdir: Workdir, out: Workdir | None = None) -> Results:
  """Writes results.json, report.md, report.html and figures/*.png.

  Args:
    workdir: of a run, finished or not.
    out: another folder to write to; None is the workdir itself.

  Returns:
    What `summarize` does.
  """
  record = records.read(workdir)
  results = _results(record)
  out = pathlib.Path(out or workdir)
  folder = out / "figures"
  folder.mkdir(parents=True, exist_ok=True)
  drawings, left_out = [], []
  for draw in FIGURES:
    try:
      drawings.append(draw(record, results))
    except AbsentError as absent:
      # What no one would look for has nothing to say.
      left_out += filter(None, [str(absent)])
      # One of an earlier report would be taken for this one's.
      (folder / f"{draw.__name__}.png").unlink(missing_ok=True)
  for drawing in drawings:
    (folder / f"{drawing.name}.png").write_bytes(drawing.light)
  document = contents.of_run(record, results, drawings, left_out)
  text = strict_json.dumps(results, indent=2) + "\n"
  (out / "results.json").write_text(text, encoding="utf-8")
  _write_page(out, page.markdown(document), page.html(document))
  return results


def compare(
  workdirs: list[Workdir], out: Workdir | None = None
) -> tuple[str, str]:
  """Several workdirs side by side: a row for every stage of each.

  Args:
    workdirs: of the runs.
    out: a folder for report.md and report.html; None writes nothing.

  Returns:
    The comparison in Markdown and as a page of HTML.
  """
  opened = _read_all(workdirs)
  results = {name: _results(record) for name, record in opened.items()}
  document = contents.of_several(opened, results)
  markdown, html = page.markdown(document), page.html(document)
  if out is not None:
    pathlib.Path(out).mkdir(parents=True, exist_ok=True)
    _write_page(pathlib.Path(out), markdown, html)
  return markdown, html


def show(results: Results, out: Workdir | None = None) -> None:
  """Prints the table, the gains, and where the page is.

  Args:
    results: of `summarize`.
    out: the folder that the page was written to; None if to none.
  """
  console = rich.console.Console()
  console.print(table(results))
  if results.get("rankings"):
    for made in ranking.grids(results, brief=True):
      console.print(page.drawn(made))
  several = results if "stages" not in results else {"": results}
  for name, one in several.items():
    for pair, much, note in page.gains(one, prefix=f"{name}: " if name else ""):
      console.print(f"{pair}: {much} {note}", soft_wrap=True, highlight=False)
  if out is not None:
    page_at = pathlib.Path(out) / "report.html"
    console.print(str(page_at), soft_wrap=True, highlight=False)


def _write_page(out: pathlib.Path, markdown: str, html: str) -> None:
  (out / "report.md").write_text(markdown, encoding="utf-8")
  (out / "report.html").write_text(html, encoding="utf-8")


def _read_all(workdirs: list[Workdir]) -> dict[str, records.Record]:
  """Workdirs by the shortest ends of their paths that tell them apart."""
  paths = [pathlib.Path(workdir).resolve() for workdir in workdirs]
  if len(set(paths)) < len(paths):
    raise UserError("A workdir is given twice.", exists=map(str, workdirs))
  length, names = 0, []
  while len(set(names)) < len(paths):
    length += 1
    names = ["/".join(path.parts[-length:]) for path in paths]
  opened = map(records.read, workdirs)
  return dict(zip(names, opened, strict=True))


def _results(record: records.Record) -> Results:
  stages = {stage: _stage(it) for stage, it in record.results.items()}
  gains = {}
  for better, worse in record.config["gains"]:
    gain = _gain(record, better, worse)
    if gain is not None:
      gains[f"{better} - {worse}"] = gain
  unfinished = {
    stage: {
      "step": record.last_step(stage),
      "steps": record.config["stages"][stage]["steps"],
    }
    for stage in record.order
    if stage not in stages
  }
  results = {
    "name": record.config["name"],
    "seeds": record.config["seeds"],
    "stages": stages,
    "gains": gains,
    "robustness": {
      stage: _robustness(it["robustness"])
      for stage, it in record.results.items()
      if it.get("robustness")
    },
    "unfinished": unfinished,
  }
  points = {
    stage: it["grid"] for stage, it in record.results.items() if it.get("grid")
  }
  results |= {"grids": points} if points else {}
  return {**results, "rankings": ranking.rankings(record, results)}


def _stage(result: dict[str, Any]) -> dict[str, Any]:
  found = {}
  for which, ending in (("best", ""), ("last", "_last")):
    for name, values in result["test"][which].items():
      if all(_is_scalar(value) for value in values):
        found[f"{name}{ending}"] = _spread(values)
  return {
    **found,
    "parameters": result["parameters"].get("student"),
    "examples_per_second": _finite(result["examples_per_second"]),
    "seconds": _finite(result["seconds"]),
  }


def _robustness(measured: dict[str, Any]) -> dict[str, Any]:
  """As a stage has it; what is not finite is None."""
  return {
    name: {
      key: values
      if key in ("levels", "sweeps")
      else [[_finite(value) for value in level] for level in values]
      for key, values in found.items()
    }
    for name, found in measured.items()
  }


def _gain(record: records.Record, better: str, worse: str) -> dict | None:
  """What a stage gains over another: of each seed, then over the seeds."""
  if better not in record.results or worse not in record.results:
    return None
  metric = record.config["stages"][better]["select"]
  by_seed = []
  for stage in (better, worse):
    result = record.results[stage]
    values = result["test"]["best"].get(metric, [])
    by_seed.append(dict(zip(result["seeds"], values, strict=False)))
  seeds = [seed for seed in by_seed[0] if seed in by_seed[1]]
  pairs = [[values[seed] for values in by_seed] for seed in seeds]
  if not pairs or not all(
    _is_scalar(value) for pair in pairs for value in pair
  ):
    return None
  left, right = np.asarray(pairs, np.float64).T
  spread = _spread(left - right)
  std = spread.pop("std")
  stderr = None if std is None else std / math.sqrt(len(pairs))
  mode = record.config["stages"][better]["select_mode"]
  return {"metric": metric, "mode": mode, "stderr": stderr, **spread}


def _spread(values) -> dict[str, Any]:
  """Mean and sample deviation; None where not finite: JSON has no NaN."""
  values = np.asarray(values, np.float64)
  std = values.std(ddof=1) if len(values) > 1 else math.nan
  return {
    "mean": _finite(values.mean()),
    "std": _finite(std),
    "seeds": [_finite(value) for value in values],
  }


def _finite(value: float) -> float | None:
  return float(value) if math.isfinite(value) else None


def _is_scalar(value: Any) -> bool:
  # A value that was not finite may have been written as null.
  return value is None or isinstance(value, int | float)
