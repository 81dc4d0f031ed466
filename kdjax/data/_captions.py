"""Texts of a manifest as ids: one a record, or several captions of each.

In training one caption of a record is drawn in each epoch, by the transform
`one_caption`. In evaluation each caption is an example of its own, with the
other columns of its record.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from kdjax.data import _columns
from kdjax.data._columns import Column
from kdjax.data._whole import Options, Whole
from kdjax.preprocess import tokenizer, words

# The key of a record's number in the table, where examples share a record.
RECORD = "record"


def read(whole: Whole, chosen: Options) -> None:
  """Reads texts as ids; a vocabulary is built from the training split.

  Columns of one tokenizer and size share their vocabulary.
  """
  columns = [column for column in whole.columns if column.kind == "text"]
  texts = {column.key: _texts(whole, chosen, column) for column in columns}
  sharing: dict[tuple[str, int], list[Column]] = {}
  for column in columns:
    named = column.option("tokenizer", chosen)
    size = column.option("vocabulary_size", chosen)
    sharing.setdefault((named, size), []).append(column)
  # With folds, all records: a seed's network has the ids of any other.
  train = np.flatnonzero((whole.split == "train") | bool(chosen.folds))
  for (named, size), same in sharing.items():
    of_training = [
      text
      for column in same
      for row in train
      for text in texts[column.key][row]
    ]
    reader = tokenizer.make(named, of_training, size)
    whole.texts += tokenizer.state(reader)
    run = words.joined(of_training) if named == "words" else ""
    if run:
      whole.remarks.append(
        f"tokenizer='words' takes {_columns.shown(run)} as one word: its script"
        " has no spaces. tokenizer='characters', or that of a published"
        " network, reads it."
      )
    for column in same:
      whole.ids[column.key], whole.readers[column.key] = len(reader), reader
      _encode(whole, chosen, column, texts[column.key], reader)


def cells(whole: Whole, chosen: Options, column: Column) -> Iterator[str]:
  """Every text of a column; cells that cannot be read are passed over."""
  most = column.option("captions", chosen)
  for cell in whole.column(column.names[0]):
    try:
      yield from [] if cell is None else _captions(cell, most)
    except ValueError:
      continue


def each(whole: Whole, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Records, each once for every caption: rows [N], numbers of captions [N].

  Args:
    whole: the table.
    rows: of a split.
  """
  counts = np.ones(len(rows), np.int64)
  for key in whole.captions:
    counts = np.maximum(counts, _count(whole.values, key)[rows])
  starts = np.repeat(np.cumsum(counts) - counts, counts)
  return np.repeat(rows, counts), np.arange(counts.sum()) - starts


def only(
  captions: Iterable[str],
  values: Mapping[str, np.ndarray],
  numbers: np.ndarray,
) -> dict[str, np.ndarray]:
  """The texts of N records, with one caption each; the others are empty.

  Args:
    captions: the keys with several captions.
    values: of the records.
    numbers: of the captions [N]; a column with fewer begins again.
  """
  texts = {}
  for key in captions:
    turn = numbers % np.maximum(_count(values, key), 1)
    for name in (key, f"mask/{key}"):
      texts[name] = np.zeros_like(values[name])
      texts[name][:, 0] = values[name][np.arange(len(turn)), turn]
  return texts


def _count(values: Mapping[str, np.ndarray], key: str) -> np.ndarray:
  """The captions of every record."""
  return values[f"mask/{key}"].any(axis=2).sum(axis=1)


def _texts(whole: Whole, chosen: Options, column: Column) -> list[list[str]]:
  """The captions of every record; a record of a single text has one."""
  (name,) = column.names
  most = column.option("captions", chosen)
  texts = whole.checked(name, lambda cell: _captions(cell, most), [])
  if most or any(isinstance(cell, list) for cell in whole.column(name)):
    whole.captions[column.key] = max([1, *map(len, texts)])
  return texts


def _captions(cell: Any, most: int) -> list[str]:
  """The first captions of a cell, at most `most`; 0 are all.

  Raises:
    ValueError: it is no text and no list of texts, or the list is empty.
  """
  if most and isinstance(cell, str) and cell.lstrip().startswith("["):
    try:
      cell = json.loads(cell)
    except ValueError:
      raise ValueError(f"{_columns.shown(cell)} is no list of texts") from None
  if not isinstance(cell, list):
    return [_columns.text(cell)]
  if not cell:
    raise ValueError("[] has no text")
  for text in cell:
    if not isinstance(text, str) or not text.strip():
      raise ValueError(f"{_columns.shown(text)} in a list is no text")
  return cell[: most or None]


def _encode(
  whole: Whole, chosen: Options, column: Column, texts: list[list[str]], reader
) -> None:
  """A column's ids, mask, and which records have a text."""
  (name,) = column.names
  cells = whole.column(name)
  length = column.option("length", chosen)
  several = whole.captions.get(column.key, 1)
  shape = (len(texts), several, length)
  ids, mask = np.zeros(shape, np.int32), np.zeros(shape, bool)
  # A pretrained tokenizer adds special tokens to an empty text, too.
  places = [
    (row, number)
    for row, captions in enumerate(texts)
    for number, text in enumerate(captions)
    if text.strip()
  ]
  if places:
    at = tuple(np.array(places).T)
    ids[at], mask[at] = reader.encode(
      [texts[row][it] for row, it in places], length
    )
  present = mask.any(axis=2)
  for row in np.flatnonzero(~present.any(axis=1)).tolist():
    if cells[row] is not None and not whole.has_fault(row, name):
      whole.add_fault(row, name, "a text without a word")
  for row, number in places:
    if not present[row, number] and present[row].any():
      shown = _columns.shown(texts[row][number])
      whole.add_fault(row, name, f"{shown} in a list is a text without a word")
  whole.values[f"has/{column.key}"] = present.any(axis=1)
  if column.key not in whole.captions:
    ids, mask = ids[:, 0], mask[:, 0]
  whole.values[column.key], whole.values[f"mask/{column.key}"] = ids, mask
