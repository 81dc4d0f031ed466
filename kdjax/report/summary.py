"""A workdir's files as the numbers of its results.json.

The test split is used here for the first time; nothing was selected on it.
"""

import pathlib
from typing import Any

from kdjax.errors import UserError
from kdjax.report import (
  classes,
  columns,
  gains,
  groups,
  paired,
  rankings,
  records,
  subset_gains,
)
from kdjax.report.numbers import finite, mean_and_std

Results = dict[str, Any]
Workdir = str | pathlib.Path


def summarize(workdirs: Workdir | list[Workdir]) -> Results:
  """The numbers of a workdir, or of several.

  Args:
    workdirs: one workdir, or a list of them.

  Returns:
    For one workdir: name, seeds, stages: {stage: {metric: {mean, std, seeds},
    parameters, examples_per_second, seconds}}, columns: the metrics of the
    table, gains: {"better - worse": see `gains.of_run`, with holm}, rankings:
    see `rankings.rankings`, robustness: {stage: {corruption: {levels, metric:
    [[a value per seed] per level]}}}, unfinished: {stage: {step, steps}}; if a
    stage has a grid, grids: {stage: [{at, validation, metric: [a value per
    seed]} per point]}, where `validation` is the stage's `select`; with
    classes, by_class: {stage: see `classes.of_stage`}; if the data has groups,
    by_group: {stage: see `groups.of_stage`}; with subsets of modalities,
    subsets: {stage: {subset: {metric: as above}}}, and subset_gains: see
    `subset_gains.of_run`. `metric` is measured on the test split with each
    seed's best variables, `<metric>_last` with its last ones. A number that
    does not exist, such as the deviation of one seed, is None. For a list:
    {name of the workdir: the above}.
  """
  if isinstance(workdirs, str | pathlib.Path):
    return results_of(records.read(workdirs))
  return {
    name: results_of(record) for name, record in read_all(workdirs).items()
  }


def read_all(workdirs: list[Workdir]) -> dict[str, records.Record]:
  """Workdirs by the shortest endings of their paths that are distinct."""
  paths = [pathlib.Path(workdir).resolve() for workdir in workdirs]
  if len(set(paths)) < len(paths):
    raise UserError(
      "A workdir is listed twice.",
      "Expected different workdirs.",
      exists=map(str, workdirs),
    )
  length, names = 0, []
  while len(set(names)) < len(paths):
    length += 1
    names = ["/".join(path.parts[-length:]) for path in paths]
  opened = map(records.read, workdirs)
  return dict(zip(names, opened, strict=True))


def results_of(record: records.Record) -> Results:
  """The numbers of one workdir, see `summarize`."""
  stages = {stage: _stage(it) for stage, it in record.results.items()}
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
    "columns": columns.of_run(record, stages),
    "stages": stages,
    "gains": gains.of_run(record),
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
  by_group = groups.of_stages(record)
  results |= {"by_group": by_group} if by_group else {}
  by_class = classes.of_stages(record)
  results |= {"by_class": by_class} if by_class else {}
  subsets = {
    stage: {name: _metrics(values) for name, values in it["subsets"].items()}
    for stage, it in record.results.items()
    if it.get("subsets")
  }
  results |= {"subsets": subsets} if subsets else {}
  by_subset = subset_gains.of_run(record)
  results |= {"subset_gains": by_subset} if by_subset else {}
  results["rankings"] = rankings.rankings(record, results)
  of_gains = results["gains"]
  gains.adjusted(of_gains, list(gains.unranked(results)))
  for worse, rows in results["rankings"].items():
    for row in rows:
      of_gains[f"{row['stage']} - {worse}"]["holm"] = row["holm"]
  return results


def _stage(result: dict[str, Any]) -> dict[str, Any]:
  return {
    **_metrics(result["test"]["best"]),
    **_metrics(result["test"]["last"], "_last"),
    "parameters": result["parameters"].get("student"),
    # 0: too short to be timed.
    "examples_per_second": finite(result["examples_per_second"]) or None,
    "seconds": finite(result["seconds"]),
  }


def _metrics(by_name: dict[str, list[Any]], ending: str = "") -> dict[str, Any]:
  """Mean and deviation of the metrics that are single numbers."""
  return {
    f"{name}{ending}": mean_and_std(values)
    for name, values in by_name.items()
    if all(paired.is_scalar(value) for value in values)
  }


def _robustness(corruptions: dict[str, Any]) -> dict[str, Any]:
  """A stage's robustness with None for values that are not finite."""
  return {
    name: {
      key: values
      if key in ("levels", "sweeps")
      else [[finite(value) for value in level] for level in values]
      for key, values in measured.items()
    }
    for name, measured in corruptions.items()
  }
