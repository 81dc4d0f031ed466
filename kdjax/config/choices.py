"""Settings that an earlier run chooses on validation."""

import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from kdjax.config import records, strict_json
from kdjax.config.fields import ConfigDict, own
from kdjax.errors import UserError
from kdjax.registry import folders


class Chosen(NamedTuple):
  """What validation chooses.

  Attributes:
    stage: its name.
    point: of the stage's grid, term/option -> value; {} without a grid.
    value: the stage's `select` on validation, mean over seeds.
  """

  stage: str
  point: dict[str, float]
  value: float


def chosen(workdir: str, stages: str | Sequence[str]) -> Chosen:
  """The stage, and the point of its grid, that is best on validation.

  The test split is not read. To compare the chosen settings on the test split,
  train them on seeds that the workdir does not have.

  Args:
    workdir: of a finished run. A relative one is looked for in the config
      file's folder, then in the working directory.
    stages: of the run, each with or without a grid; they select by one metric.

  Returns:
    The one with the best mean over seeds; of equal ones the first.

  Raises:
    UserError: the workdir or a stage does not exist or is not finished, the
      stages select by different metrics, or no value is finite.
  """
  names = [stages] if isinstance(stages, str) else list(stages)
  path = _found(workdir)
  known = strict_json.read(path / "config.json")["stages"]
  for name in names:
    if name not in known:
      raise UserError(
        f"'{path}' has no stage '{name}'.", exists=known, near=name
      )
  rules = {(known[it]["select"], known[it]["select_mode"]) for it in names}
  if len(rules) != 1:
    listed = ", ".join(" ".join(rule) for rule in sorted(rules))
    raise UserError(
      f"The stages to choose from select by: {listed or 'nothing'}.",
      "Expected at least one stage, and one `select` and `select_mode` of all.",
    )
  ((_, mode),) = rules
  candidates = [
    it for name in names for it in _candidates(path, name, known[name])
  ]
  best = best_of([it.value for it in candidates], mode)
  if best is None:
    raise UserError(
      f"No validation value of {', '.join(names)} in '{path}' is finite.",
      "Expected at least one point whose training did not diverge.",
    )
  return candidates[best]


def at_point(stage: ConfigDict, point: Mapping[str, float]) -> ConfigDict:
  """A copy of a stage with the numbers of a grid point, and without a grid.

  Args:
    stage: from `stage()`.
    point: term/option -> value, as of `chosen()`.

  Raises:
    UserError: the stage has no such term, or the term no such number.
  """
  result = own(stage)
  numbers = [
    f"{term}/{option}"
    for term, options in result.terms.items()
    for option, value in options.items()
    if isinstance(value, float)
  ]
  for name, value in point.items():
    if name == "optimizer/learning_rate":
      rate, value = result.optimizer.learning_rate, float(value)
      if isinstance(rate, ConfigDict):
        rate.value = value
      else:
        result.optimizer.learning_rate = value
      continue
    if name not in numbers:
      raise UserError(
        f"The point has '{name}', which is no number of a term.",
        "Expected term/weight, or term/option of an option that is a float.",
        exists=numbers,
        near=name,
      )
    term, _, option = name.partition("/")
    result.terms[term][option] = float(value)
  result.grid = ConfigDict()
  return result


def best_of(values: Sequence[float], mode: str) -> int | None:
  """The place of the best value, the first of equals.

  Args:
    values: to compare; those that are not finite do not count.
    mode: "max" or "min".

  Returns:
    None if no value is finite.
  """
  sign = 1 if mode == "max" else -1
  finite = [i for i, value in enumerate(values) if math.isfinite(value)]
  return max(finite, key=lambda i: sign * values[i], default=None)


def mean(values: Sequence[float]) -> float:
  """The mean over seeds; NaN if a value is not finite, or there is none."""
  value = sum(values) / len(values) if values else math.nan
  return value if math.isfinite(value) else math.nan


def _found(workdir: str) -> pathlib.Path:
  """The workdir, in the first folder that has it."""
  places = [folder / workdir for folder in folders.searched()]
  for place in places:
    if (place / "config.json").is_file():
      return place
  searched = ", ".join(map(str, dict.fromkeys(places)))
  raise UserError(
    f"'{workdir}' is not the workdir of a run. Looked for: {searched}.",
    f"Run its experiment first: kdjax run --config=.. --workdir={workdir}",
  )


def _candidates(
  path: pathlib.Path, name: str, config: Mapping[str, Any]
) -> list[Chosen]:
  """Every point of a finished stage; the stage itself without a grid."""
  file = path / "stages" / name / "result.json"
  result = records.result(file)
  if result is None or not records.is_of(result, config):
    raise UserError(
      f"The stage '{name}' of '{path}' is not finished.",
      "Run it first: the command is in the workdir's environment.json.",
    )
  of_stage = result["validation"]["best"].get(config["select"])
  rows = result.get("grid", [{"at": {}, "validation": of_stage}])
  if of_stage is None or any(row.get("validation") is None for row in rows):
    raise UserError(
      f"'{file}' has no {config['select']} on validation of every point.",
      "It is of an older version: delete it and run the same command again.",
    )
  return [Chosen(name, row["at"], mean(row["validation"])) for row in rows]
