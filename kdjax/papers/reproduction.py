"""Runs published experiments and compares our results with the papers'.

A file of configs/papers has `get_config(argument)`, and `published()`, which
returns the rows of a table by that argument; see `kdjax.config.result`.
"""

import ast
import json
import pathlib
import runpy
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from kdjax.config import fields, results
from kdjax.errors import UserError
from kdjax.papers import closed_forms
from kdjax.training import experiment, workdir

# A file that defines this name runs only if it is named.
ON_REQUEST = "ON_REQUEST"

# Between the stages of an order, the best first.
ORDER = " > "


class Table(NamedTuple):
  """An experiment of a paper, with its published rows."""

  paper: str  # the name of the config file
  mode: str  # the argument of its `get_config`
  title: str  # the first line of its docstring
  path: pathlib.Path
  rows: Sequence[dict[str, Any]]
  on_request: bool

  @property
  def name(self) -> str:
    """The name on the command line."""
    return f"{self.paper}:{self.mode}" if self.mode else self.paper

  @property
  def folder(self) -> str:
    """The name of its workdir."""
    return f"{self.paper}-{self.mode}" if self.mode else self.paper


class Row(NamedTuple):
  """A published number, and ours."""

  table: str
  text: str
  published: float | str | None  # a number, a sign, or an order of stages
  ours: tuple[float, ...]  # a number per seed; () is not measured
  tolerance: float | None
  note: str
  device: str
  seconds: float
  commit: str
  order: str = ""  # our order of stages, of a published order

  @property
  def difference(self) -> float | None:
    """Our mean minus the published number."""
    if self.published is None or isinstance(self.published, str):
      return None
    return float(np.mean(self.ours)) - self.published if self.ours else None

  @property
  def verdict(self) -> str:
    """Whether ours is within the tolerance, or has the sign or the order."""
    if not self.ours:
      return "not measured"
    if self.published in results.SIGNS:
      sign = "+" if np.mean(self.ours) > 0 else "-"
      return "within" if sign == self.published else "MISSED"
    if self.order:
      return "within" if self.order == self.published else "MISSED"
    if self.difference is None:
      return "no number to compare"
    # The factor allows for rounding.
    within = abs(self.difference) <= self.tolerance * (1 + 1e-9)
    return "within" if within else "MISSED"


def tables(folder: str | pathlib.Path) -> list[Table]:
  """All tables of the papers in a folder.

  Raises:
    UserError: no file of the folder defines `published()`.
  """
  all_tables = []
  for path in sorted(pathlib.Path(folder).glob("*.py")):
    if not _is_paper(path):
      continue
    module = runpy.run_path(str(path))
    title = (module["__doc__"] or path.stem).partition("\n")[0]
    all_tables += [
      Table(path.stem, mode, title, path, rows, ON_REQUEST in module)
      for mode, rows in module["published"]().items()
    ]
  if not all_tables:
    raise UserError(
      f"No file in '{folder}' defines `published()`.",
      "Run the command in the repository, or set --configs=<folder>.",
    )
  return all_tables


def _is_paper(path: pathlib.Path) -> bool:
  """Whether a file defines `published`; found without running it."""
  try:
    tree = ast.parse(path.read_text(encoding="utf-8"))
  except (OSError, ValueError, SyntaxError):
    return False
  return any(
    isinstance(node, ast.FunctionDef) and node.name == "published"
    for node in tree.body
  )


def chosen(known: Sequence[Table], names: Iterable[str]) -> list[Table]:
  """The tables with some names.

  Args:
    known: all tables.
    names: of papers or tables; none are all that need no request.

  Raises:
    UserError: no paper or table has a name.
  """
  names = list(names)
  if not names:
    return [table for table in known if not table.on_request]
  exists = dict.fromkeys(
    [table.paper for table in known] + [table.name for table in known]
  )
  for name in names:
    if name not in exists:
      raise UserError(
        f"No paper or table is called '{name}'.", exists=exists, near=name
      )
  return [table for table in known if {table.paper, table.name} & {*names}]


def run(
  table: Table, folder: pathlib.Path, root: str, arguments: dict[str, str]
) -> None:
  """Runs a table's experiment, or continues it.

  Args:
    table: the table.
    folder: contains its workdir.
    root: the folder of the data sets.
    arguments: mode -> the argument of `get_config`, if that is not the mode.
  """
  mode = arguments.get(table.mode, table.mode)
  path = f"{table.path}:{mode}" if mode else str(table.path)
  config = fields.load(path)
  with config.unlocked():
    if "root" in config.data and not config.data.root:
      config.data.root = root
  experiment.run(config, folder / table.folder)


def rows(table: Table, folder: pathlib.Path) -> list[Row]:
  """The rows of a table, with our numbers if its workdir has them."""
  return [_row(table, folder / table.folder, spec) for spec in table.rows]


def _row(table: Table, folder: pathlib.Path, spec: dict[str, Any]) -> Row:
  """A row, with our number if its stage is finished."""
  names = spec["stage"] or _last_stage(folder)
  names = [names] if isinstance(names, str) else list(names)
  names += [spec["over"]] if spec["over"] else []
  found = [
    workdir.stage_result(folder, name) if name else None for name in names
  ]
  result, where = found[0], {"device": "", "seconds": 0.0, "commit": ""}
  ours: Sequence[float] = ()
  published, order = spec["published"], ""
  if published == "order":
    published = ORDER.join(names)
  if all(it is not None for it in found):
    environment = json.loads((folder / "environment.json").read_text())
    commit = (environment["commit"] or "")[:9]
    where = {
      "device": result["device"],
      "seconds": result["seconds"],
      "commit": commit + ("+" if environment["changed"] else ""),
    }
    metric, _, form = spec["metric"].partition(":")
    if form:
      ours = closed_forms.distance(form, folder, spec["stage"])
    else:
      values = [_measured(it, metric, spec["at"]) for it in found]
      ours = values[0]
      if spec["over"]:
        ours = np.subtract(*values).tolist()
      elif spec["published"] == "order":
        means = [-np.mean(value) for value in values]
        order = ORDER.join(names[place] for place in np.argsort(means))
  return Row(
    table=table.name,
    text=spec["text"],
    published=published,
    order=order,
    ours=tuple(ours),
    tolerance=spec["tolerance"],
    note=spec["note"],
    **where,
  )


def _measured(result: dict, metric: str, at: dict) -> list[float]:
  """A metric of every seed, averaged over some points of the grid."""
  if not at:
    return result["test"]["last"][metric]
  near = lambda value, values: any(abs(value - it) < 1e-9 for it in values)
  selected = [
    point[metric]
    for point in result["grid"]
    if all(near(point["at"][name], values) for name, values in at.items())
  ]
  if not selected:
    raise UserError(
      f"The grid of stage '{result['stage']}' has no point at {at}.",
      "Expected values of the grid in `at`.",
    )
  return np.mean(selected, axis=0).tolist()


def _last_stage(folder: pathlib.Path) -> str:
  """The last stage of a workdir; "" if the workdir does not exist."""
  if not (folder / "config.json").exists():
    return ""
  return workdir.read_config(folder)["order"][-1]
