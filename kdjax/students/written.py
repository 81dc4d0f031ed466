"""Predictions as text: a table to look at, CSV and JSONL to go on with.

A row has the columns that name its record, for each result of classes the
classes with the largest probabilities, the text that it wrote, or the nearest
records of a gallery with their cosines, `fault`, and then the arrays:

  file  class  probability  class_2  probability_2  fault  probabilities
  file  written  fault
  file  nearest  cosine  nearest_2  cosine_2  fault  retrieval
"""

import csv
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from rich.cells import cell_len

from kdjax.config import strict_json
from kdjax.errors import UserError
from kdjax.students.gallery import Gallery
from kdjax.students.records import Record
from kdjax.students.signature import EMBEDDING as DIRECTION
from kdjax.students.signature import VALUE, WRITTEN, Signature
from kdjax.students.student import MOST, Prediction, Student

FAULT = "fault"

# What a student without results gives, if it has it.
EMBEDDING = "embedding"

# Rows of a table by which its columns are aligned, and the widest column.
ALIGNED, WIDEST = 64, 60

Row = dict[str, Any]
Write = Callable[[str], Any]


def outputs_of(signature: Signature, stated: Sequence[str]) -> tuple[str, ...]:
  """The names of the outputs to write.

  Args:
    signature: of the student.
    stated: some of its outputs; () are its results, or else the embedding.

  Raises:
    UserError: the student has no such output, or none to choose.
  """
  for name in stated:
    if name not in signature.outputs:
      raise UserError(
        f"The student '{signature.name}' has no output '{name}'.",
        exists=signature.outputs,
        near=name,
      )
  if stated:
    return tuple(dict.fromkeys(stated))
  found = [it.name for it in signature.results]
  found = found or [it for it in signature.outputs if it == EMBEDDING]
  if not found:
    raise UserError(
      f"The student '{signature.name}' has no result and no embedding.",
      "Name outputs, as in --outputs=logits.",
      exists=signature.outputs,
    )
  return tuple(found)


def not_in_a_table(signature: Signature) -> tuple[str, ...]:
  """Results of classes or of a gallery: a table shows the best ones alone."""
  shown = (VALUE, WRITTEN)
  return tuple(it.name for it in signature.results if it.kind not in shown)


def predicted(
  student: Student, records: Iterable[Record]
) -> Iterator[tuple[Record, Prediction]]:
  """Each record and what the student says of it, in order.

  Args:
    student: to be called.
    records: are read as they are needed.
  """
  records = iter(records)
  while held := list(itertools.islice(records, MOST)):
    sound = [it.values for it in held if not it.fault]
    predictions = student.predictions(sound)
    for record in held:
      fault = Prediction({}, fault=record.fault)
      yield record, fault if record.fault else next(predictions)


def row_of(
  record: Record,
  said: Prediction,
  outputs: Sequence[str],
  top: int,
  gallery: Gallery | None = None,
) -> Row:
  """Column -> value: a text, a number, or a list of numbers.

  Args:
    record: that was read.
    said: of the record.
    outputs: names of the arrays.
    top: how many classes of a result, or records of the gallery.
    gallery: in which embeddings are looked up; None is nowhere.
  """
  row: Row = {**record.where, **said.texts}
  for result in said.results:
    if result.kind == WRITTEN:
      continue
    array = said.outputs[result.name]
    if result.kind == DIRECTION:
      near = gallery.nearest(array, top) if gallery else []
      for place, (name, cosine) in enumerate(near, start=1):
        suffix = f"_{place}" * (place > 1)
        row[f"nearest{suffix}"], row[f"cosine{suffix}"] = name, cosine
      continue
    if result.name in outputs and result.kind != VALUE and array.ndim == 1:
      _, _, task = result.name.partition("/")
      best = said.top(top, result.name)
      for place, (name, probability) in enumerate(best, start=1):
        suffix = (f"/{task}" if task else "") + (f"_{place}" * (place > 1))
        row[f"class{suffix}"] = name
        row[f"probability{suffix}"] = probability
  row[FAULT] = " ".join(said.fault.split())
  if not said.fault:
    arrays = (name for name in outputs if name not in said.texts)
    row |= {name: _plain(said.outputs[name]) for name in arrays}
  return row


def write(
  rows: Iterable[Row], kind: str, to: Write, hidden: Sequence[str] = ()
) -> None:
  """Writes rows as they come.

  Args:
    rows: from `row_of`.
    kind: "table", "csv" or "jsonl".
    to: takes a text.
    hidden: arrays that a table leaves out.
  """
  _WRITERS[kind](rows, to, hidden)


def _jsonl(rows: Iterable[Row], to: Write, hidden: Sequence[str]) -> None:
  del hidden
  for row in rows:
    to(strict_json.dumps(row, ensure_ascii=False) + "\n")


def _csv(rows: Iterable[Row], to: Write, hidden: Sequence[str]) -> None:
  """CSV; an array is a column for each of its values: name[0], name[1], .."""
  del hidden
  writer = csv.writer(_Sink(to), lineterminator="\n")
  rows = iter(rows)
  # The columns are those of the first record that could be read.
  first = list(_through_the_first_sound(rows))
  if not first:
    return
  header = [*_flat(first[-1])]
  writer.writerow(header)
  for row in itertools.chain(first, rows):
    flat = _flat(row)
    writer.writerow([flat.get(name, "") for name in header])


def _through_the_first_sound(rows: Iterator[Row]) -> Iterator[Row]:
  for row in rows:
    yield row
    if not row[FAULT]:
      return


def _flat(row: Row) -> Row:
  """A row whose arrays are a column for each value."""
  flat: Row = {}
  for name, value in row.items():
    if isinstance(value, list):
      flat |= dict(_elements(name, value))
    else:
      flat[name] = value
  return flat


def _elements(name: str, value: Any) -> Iterator[tuple[str, Any]]:
  if not isinstance(value, list):
    yield name, value
    return
  for number, element in enumerate(value):
    yield from _elements(f"{name}[{number}]", element)


def _table(rows: Iterable[Row], to: Write, hidden: Sequence[str]) -> None:
  """Aligned columns, as they are in the first rows."""
  rows = (
    {name: value for name, value in row.items() if name not in hidden}
    for row in rows
  )
  first = list(_through_the_first_sound(rows))
  first += itertools.islice(rows, max(0, ALIGNED - len(first)))
  if not first:
    return
  # The column `fault` is last: it is long where it is not empty.
  names = dict.fromkeys(name for row in first for name in row if name != FAULT)
  names = [*names, FAULT]
  cells = [[_cell(row.get(name, "")) for name in names] for row in first]
  widths = [
    min(WIDEST, max(map(cell_len, column)))
    for column in zip(names, *cells, strict=True)
  ]

  def line(values: Sequence[str]) -> None:
    padded = (
      value + " " * (width - cell_len(value))
      for value, width in zip(values, widths, strict=True)
    )
    to("  ".join(padded).rstrip() + "\n")

  line(names)
  for values in cells:
    line(values)
  for row in rows:
    line([_cell(row.get(name, "")) for name in names])


def _cell(value: Any) -> str:
  """A value in a table, on one line."""
  if isinstance(value, list):
    return " ".join(map(_cell, value))
  if isinstance(value, float):
    return f"{value:.4f}"
  return " ".join(f"{value}".split())


def _plain(array: np.ndarray) -> Any:
  """An array as numbers of Python; also of bfloat16."""
  array = np.asarray(array)
  if array.dtype.kind not in "biuf":
    array = array.astype(np.float32)
  return array.tolist()


class _Sink:
  """A file for `csv.writer`."""

  def __init__(self, to: Write):
    self.write = to


_WRITERS: Mapping[str, Callable] = {
  "table": _table,
  "csv": _csv,
  "jsonl": _jsonl,
}
