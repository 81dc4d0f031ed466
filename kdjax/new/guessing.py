"""What a table's columns are for: modalities, the label, a person.

Guesses from names and cells. `columns=` states another reading.
"""

import collections
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from kdjax.data import _columns, _splits
from kdjax.errors import UserError
from kdjax.new.columns import (
  ANSWERS,
  LABELS,
  PEOPLE,
  SAMPLE,
  Column,
  are_numbers,
  column_of,
  key_of,
  tells,
  words_of,
)
from kdjax.preprocess import tables

# A column with more empty cells is no part of the joint numbers.
EMPTY = 0.05
# A longer name of a column is a cell.
LONGEST = 60


class Guess(NamedTuple):
  """What a table's columns are.

  Attributes:
    columns: key -> "kind:column", as `manifest` takes it.
    label: the table's column with what is to be predicted; "" if none.
    group: the column of the person that a record is of; "" if none.
    remarks: sentences on what was left out, and why.
  """

  columns: dict[str, Any]
  label: str
  group: str
  remarks: tuple[str, ...]


def guess(table: tables.Table, stated: Mapping[str, Any] | None) -> Guess:
  """What the columns of a table are.

  Args:
    table: its records.
    stated: key -> column by the user, in place of a guess; None guesses.

  Raises:
    UserError: several columns may be the label, or none holds examples.
  """
  _check_header(table)
  columns = [column_of(table, name) for name in table.columns]
  # Who is in which split is stated: nothing is drawn by the person.
  drawn = not any(_splits.is_column(it.name) for it in columns)
  group = _group(columns) if drawn else ""
  parsed = _columns.parse(stated or {})
  answers = [it for it in parsed if _is_answer(it)]
  if len(parsed) > len(answers):
    names = {name for it in parsed for name in it.names}
    group = "" if group in names else group
    return Guess(
      dict(stated or {}), answers[0].names[0] if answers else "", group, ()
    )
  free = [it for it in columns if not _splits.is_column(it.name)]
  free = [it for it in free if it.name != group]
  if answers:
    label = next((it for it in columns if it.name == answers[0].names[0]), None)
    answer = dict(stated or {})
  else:
    label = _label(free, table.classes)
    answer = _answer(label, table.classes) if label else {}
  if label is None and answers:
    raise UserError(
      f"The table has no column '{answers[0].names[0]}'.",
      exists=table.columns,
      near=answers[0].names[0],
    )
  if label is None:
    raise UserError(
      "No column of the table can be the label: none has words or whole numbers"
      f" that occur in several records. It has {', '.join(table.columns)}.",
      "Name it, as in --columns=label=species; distillation without labels is"
      " `kdjax list methods seed`.",
    )
  inputs = [it for it in free if it.name != label.name]
  inputs, remarks = _inputs(inputs, label, _aligned(table, label.name))
  return Guess({**inputs, **answer}, label.name, group, tuple(remarks))


def _check_header(table: tables.Table) -> None:
  """Raises `UserError` for a first line that is a record."""
  strange = [
    name
    for name in table.columns
    if len(name) > LONGEST or (name.strip() and are_numbers([name]))
  ]
  if strange and len(table.columns) > 1:
    raise UserError(
      f"The first line of the table has '{strange[0][:LONGEST]}', which is no"
      " name of a column.",
      "Write a line with the columns' names above the records.",
    )


def _is_answer(column: _columns.Column) -> bool:
  return column.kind in (*_columns.LABELS, "target")


def _group(columns: Sequence[Column]) -> str:
  """The column of the person that several records are of."""
  for column in columns:
    named = {*words_of(column.name)} & {*PEOPLE}
    single = isinstance((column.cells or [None])[0], str | int)
    if named and single and 2 < column.different < 0.9 * len(column.cells):
      return column.name
  return ""


def _label(
  columns: Sequence[Column], classes: Mapping[str, Any]
) -> Column | None:
  """The column to predict; None if there is none."""
  fit = [it for it in columns if it.kind in ("category", "labels")]
  stated = [it for it in fit if it.name in classes]
  if len(stated) == 1:
    return stated[0]
  answers = [
    it for it in columns if it.kind in ("category", "labels", "numbers")
  ]
  for word in LABELS:
    for column in answers:
      if column.name.strip().lower() == word:
        return column
  for word in ANSWERS:
    for column in answers:
      if words_of(column.name)[-1:] == [word]:
        return column
  words = [it for it in fit if not are_numbers(it.cells)]
  likely = words or fit
  if len(likely) > 1:
    raise UserError(
      "Which column is the label? Several have classes:"
      f" {', '.join(it.name for it in likely)}.",
      f"Name it, as in --columns=label={likely[0].name}.",
    )
  return likely[0] if likely else None


def _answer(label: Column, classes: Mapping[str, Any]) -> dict[str, str]:
  """The key and the column of what is predicted."""
  if label.kind == "labels":
    return {"label": f"labels:{label.name}"}
  if label.kind == "category" or label.name in classes:
    return {"label": f"label:{label.name}"}
  return {"target": f"target:{label.name}"}


def _aligned(table: tables.Table, label: str) -> list[tuple[Mapping, str]]:
  """(cells, label) of the records with a label."""
  rows = [row.cells for row in table.rows[:SAMPLE] if label in row.cells]
  return [(cells, str(cells[label])) for cells in rows]


def _inputs(
  columns: Sequence[Column], label: Column, aligned: Sequence[tuple]
) -> tuple[dict[str, str], list[str]]:
  """The modalities of a table, and sentences on what is left out."""
  left, kept, numbers = [], [], []
  for column in columns:
    reason = _reason(column, label, aligned)
    if reason:
      left.append(f"The column '{column.name}' is left out: {reason}")
    elif column.kind in ("numbers", "category") and not any(
      isinstance(cell, list) for cell in column.cells
    ):
      numbers.append(column.name)
    else:
      kept.append(column)
  counts = collections.Counter(it.kind for it in kept)
  inputs = {
    it.kind if counts[it.kind] == 1 else key_of(it.name): f"{it.kind}:{it.name}"
    for it in kept
  }
  if numbers:
    key = "numbers" if "numbers" not in inputs else "measured"
    inputs[key] = f"numbers:{', '.join(numbers)}"
  return inputs, left


def _reason(column: Column, label: Column, aligned: Sequence[tuple]) -> str:
  """Why a column is no modality; "" if it is one."""
  if not column.cells:
    return "it is empty."
  if column.kind in ("", "identity"):
    return "another value in each record, which says nothing of the next."
  if column.different == 1:
    return "all its cells are equal."
  if column.kind == "frames":
    return "no network of kdjax reads a list of pictures."
  if tells(column.name, aligned):
    return f"it tells the label '{label.name}', value by value."
  if column.kind == "labels":
    return "it has classes of its own, as a second label would."
  if column.kind == "category" and not are_numbers(column.cells):
    return (
      "words that are classes, as a second label would have; --columns can"
      " name it as a text."
    )
  if column.kind in ("numbers", "category") and column.empty > EMPTY:
    return (
      f"{100 * column.empty:.0f} % of its cells are empty, and numbers are"
      " missing where one of them is."
    )
  if "," in column.name and column.kind in ("numbers", "category"):
    return "its name has a comma, which separates names in `columns`."
  return ""
