"""Published results: run, compared, and written down.

A file of configs/papers has `get_config(argument)` and `published()`: of each
argument, rows from `kdjax.config.result()`.
"""

import json
import pathlib
import runpy
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from kdjax.config import fields
from kdjax.errors import UserError
from kdjax.papers import closed_forms
from kdjax.training import experiment, workdir

# A file says so whose experiments are run where they are named alone.
ON_REQUEST = "ON_REQUEST"


class Table(NamedTuple):
  """One experiment of a paper and what is published of it."""

  paper: str  # the name of its file
  mode: str  # the argument of its `get_config`
  title: str  # the first line of its docstring
  path: pathlib.Path
  rows: Sequence[dict[str, Any]]
  on_request: bool

  @property
  def name(self) -> str:
    """As it is asked for."""
    return f"{self.paper}:{self.mode}" if self.mode else self.paper

  @property
  def folder(self) -> str:
    """Of its workdir."""
    return f"{self.paper}-{self.mode}" if self.mode else self.paper


class Row(NamedTuple):
  """A published number and ours."""

  table: str
  text: str
  published: float | None
  ours: tuple[float, ...]  # of each seed; () is not measured
  tolerance: float
  note: str
  device: str
  seconds: float
  commit: str

  @property
  def difference(self) -> float | None:
    """Ours less the published number."""
    if self.published is None or not self.ours:
      return None
    return float(np.mean(self.ours)) - self.published

  @property
  def verdict(self) -> str:
    """Whether ours is as published."""
    if not self.ours:
      return "not measured"
    if self.difference is None:
      return "no number to compare"
    # Of a distance that may be as large as the tolerance, and rounding.
    within = abs(self.difference) <= self.tolerance * (1 + 1e-9)
    return "within" if within else "MISSED"


def tables(folder: str | pathlib.Path) -> list[Table]:
  """Every table of every paper of a folder.

  Raises:
    UserError: it has none.
  """
  found = []
  for path in sorted(pathlib.Path(folder).glob("*.py")):
    module = runpy.run_path(str(path))
    if "published" not in module:
      continue
    title = (module["__doc__"] or path.stem).partition("\n")[0]
    found += [
      Table(path.stem, mode, title, path, rows, ON_REQUEST in module)
      for mode, rows in module["published"]().items()
    ]
  if not found:
    raise UserError(
      f"'{folder}' has no file with a `published()`.",
      "Run it in the repository, or say --configs=<folder>.",
    )
  return found


def chosen(known: Sequence[Table], names: Iterable[str]) -> list[Table]:
  """The tables of some names: of papers, or paper:mode; of none, most.

  Raises:
    UserError: a name that there is not.
  """
  names = list(names)
  if not names:
    return [one for one in known if not one.on_request]
  exists = [*{one.paper: 0 for one in known}, *(one.name for one in known)]
  for name in names:
    if name not in exists:
      raise UserError(
        f"No result '{name}'.", exists=dict.fromkeys(exists), near=name
      )
  return [one for one in known if {one.paper, one.name} & {*names}]


def run(
  table: Table, folder: pathlib.Path, root: str, arguments: dict[str, str]
) -> None:
  """Runs a table's experiment, or what is left of it.

  Args:
    table: of a paper.
    folder: in which its workdir is.
    root: where data sets lie.
    arguments: what a mode's name stands for, where it is no argument itself.
  """
  mode = arguments.get(table.mode, table.mode)
  path = f"{table.path}:{mode}" if mode else str(table.path)
  config = fields.load(path)
  with config.unlocked():
    if "root" in config.data and not config.data.root:
      config.data.root = root
  experiment.run(config, folder / table.folder)


def rows(table: Table, folder: pathlib.Path) -> list[Row]:
  """The rows of a table, ours from its workdir where that is finished."""
  return [_row(table, folder / table.folder, one) for one in table.rows]


def _row(table: Table, folder: pathlib.Path, one: dict[str, Any]) -> Row:
  """A row with ours, where its stage is finished."""
  plain = one["stage"] or _last_stage(folder)
  result = workdir.finished(folder, plain) if plain else None
  where = {"device": "", "seconds": 0.0, "commit": ""}
  ours: Sequence[float] = ()
  if result is not None:
    said = json.loads((folder / "environment.json").read_text())
    commit = (said["commit"] or "")[:9] + ("+" if said["changed"] else "")
    where = {"device": result["device"], "seconds": result["seconds"]}
    where["commit"] = commit
    kind, _, form = one["metric"].partition(":")
    if form:
      ours = closed_forms.distance(form, folder, one["stage"])
    else:
      ours = _measured(result, kind, one["at"])
  return Row(
    table=table.name,
    text=one["text"],
    published=one["published"],
    ours=tuple(ours),
    tolerance=one["tolerance"],
    note=one["note"],
    **where,
  )


def _measured(result: dict, metric: str, at: dict) -> list[float]:
  """A metric of every seed, at some points of a grid where it has one."""
  if not at:
    return result["test"]["last"][metric]
  near = lambda value, values: any(abs(value - one) < 1e-9 for one in values)
  found = [
    point[metric]
    for point in result["grid"]
    if all(near(point["at"][name], values) for name, values in at.items())
  ]
  if not found:
    raise UserError(f"The grid of '{result['stage']}' has no point at {at}.")
  return np.mean(found, axis=0).tolist()


def _last_stage(folder: pathlib.Path) -> str:
  """Of a workdir; "" where there is none."""
  if not (folder / "config.json").exists():
    return ""
  return workdir.read_config(folder)["order"][-1]
