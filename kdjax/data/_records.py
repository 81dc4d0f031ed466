"""The records of one split of a manifest, decoded on access."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kdjax.data import _captions, _subset
from kdjax.data import _cell_files as cell_files
from kdjax.data._columns import FILES, Column, shown
from kdjax.data._manifest import open_table
from kdjax.data._whole import Options, Whole
from kdjax.errors import UserError
from kdjax.feed.sources import Fault, digest
from kdjax.preprocess import audio, images, sequences


def opened(
  chosen: Options, split: str, shapes: Mapping[str, Any], *, strict: bool
) -> "Split":
  """The records of a split of a table.

  Args:
    chosen: the options.
    split: "train", "validation" or "test".
    shapes: of one example, `index` included.
    strict: whether a fault of the table stops, in any split.

  Raises:
    UserError: the table cannot be read, or has a fault.
  """
  whole = open_table(chosen)
  if strict and whole.faults:
    _stop(chosen, whole)
  return Split(chosen, whole, split, shapes)


def _stop(chosen: Options, whole: Whole) -> None:
  """Raises `UserError` for the first fault of a table."""
  row = min(whole.faults)
  fault = Fault(
    row,
    chosen.file_of(whole.rows[row]),
    whole.rows[row].line,
    *whole.faults[row][0],
  )
  raise UserError(
    f"{fault} {len(whole.faults)} of {len(whole.rows)} records are broken.",
    'on_error="skip" leaves them out; `kdjax inspect data` lists them.',
  )


class Split:
  """The records of a split; implements `sources.Records`.

  Args:
    chosen: the options.
    whole: the table.
    split: "train", "validation" or "test".
    shapes: of one example, `index` included.
  """

  def __init__(
    self, chosen: Options, whole: Whole, split: str, shapes: Mapping[str, Any]
  ):
    rows = np.flatnonzero(whole.split == split)
    if not len(rows):
      raise UserError(
        f"'{chosen.path}' has no record in the split '{split}'.",
        f"It has {len(whole.rows)} records; `split_column`, `validation` and"
        " `test` divide them.",
      )
    self._chosen, self._folder = chosen, os.path.abspath(chosen.root)
    self.spec = {key: leaf for key, leaf in shapes.items() if key != "index"}
    numbers = np.zeros(len(rows), np.int64)
    if split != "train":
      rows, numbers = _captions.each(whole, rows)
    # Unique, and that of the record where it is one example.
    self.index = (rows + numbers * len(whole.rows)).astype(np.int32)
    self.values = {key: value[rows] for key, value in whole.values.items()}
    if whole.captions:
      self.values[_captions.RECORD] = rows.astype(np.int32)
    if split != "train":
      self.values |= _captions.only(whole.captions, self.values, numbers)
    # Windows of sequences are cut already.
    self._files = [
      column
      for column in whole.columns
      if column.kind in FILES and column.key not in self.values
    ]
    self._cells = {
      key: [cells[row] for row in rows] for key, cells in whole.cells.items()
    }
    self._lines = [whole.rows[row].line for row in rows]
    # Of one table, its path; a list of equal paths costs each worker memory.
    self._places = {
      position: chosen.file_of(whole.rows[row])
      for position, row in enumerate(rows.tolist())
      if whole.rows[row].file
    }
    self.faults = {
      position: [self._fault(position, *fault) for fault in whole.faults[row]]
      for position, row in enumerate(rows.tolist())
      if row in whole.faults
    }

  def keep_labels(self, per_class: int, seed: int) -> None:
    """Keeps `per_class` labels of each class; the others become -1.

    Raises:
      UserError: a class has fewer, or a record has several labels or none.
    """
    labels = self.labels if "label" in self.values else None
    self.values["label"] = _subset.keep_labels(labels, per_class, seed)

  @property
  def labels(self) -> np.ndarray:
    """The class of every record; -1 if it is unlabelled or broken."""
    none = np.full(len(self.index), -1, np.int32)
    labels = self.values.get("label", none).copy()
    labels[list(self.faults)] = -1
    return labels

  def fingerprint(self) -> str:
    """Hash of the table's values and the files' contents."""
    chosen = self._chosen
    parts: list[Any] = [
      (chosen.image_size, chosen.channels, chosen.fit),
      (chosen.sample_rate, chosen.seconds),
      # Added later: without them, fingerprints are those of before.
      *([chosen.range] if chosen.range else ()),
      *([chosen.scale] if chosen.scale != 1.0 else ()),
      *(column.own for column in self._files if column.own),
      sorted((key, leaf.shape) for key, leaf in self.spec.items()),
      sorted(self.faults),
      self.index,
    ]
    for key, values in sorted(self.values.items()):
      parts += [key, values]
    for column in sorted(self._files, key=lambda column: column.key):
      parts += [column.key, column.kind]
      parts += cell_files.identities(self._cells[column.key], self._folder)
    return digest(*parts)

  def read(
    self, positions: Sequence[int]
  ) -> list[dict[str, np.ndarray] | list[Fault]]:
    """For each record its images and recordings, or all its faults."""
    return [self._record(position) for position in positions]

  def _record(self, position: int) -> dict[str, np.ndarray] | list[Fault]:
    faults = [*self.faults.get(position, ())]
    example: dict[str, np.ndarray] = {}
    for column in self._files:
      cell = self._cells[column.key][position]
      if cell is None:
        continue
      try:
        value = self._decode(column, cell)
        if column.kind in ("sequence", "frames"):
          value, example[f"mask/{column.key}"] = value
        example[column.key] = value
      except ValueError as error:
        faults.append(self._fault(position, column.names[0], str(error)))
    return faults or example

  def _decode(self, column: Column, cell: Any) -> Any:
    if column.kind == "frames":
      return self._frames(column, cell)
    option = lambda name: column.option(name, self._chosen)
    file: Any = cell
    name = "it"
    if not (column.kind == "sequence" and isinstance(cell, list)):
      file, name = cell_files.open_cell(cell, self._folder, column.kind)
    try:
      if column.kind == "image":
        return images.decode(
          file,
          option("image_size"),
          channels=option("channels"),
          fit=option("fit"),
          values=option("range"),
        )
      if column.kind == "sequence":
        features = self.spec[column.key].shape[1]
        return sequences.decode(file, option("steps"), features)
      return audio.decode(
        file, option("sample_rate"), option("seconds"), option("scale")
      )
    except ValueError as error:
      raise ValueError(f"{name} is {error}") from error

  def _frames(self, column: Column, cell: Any) -> tuple[np.ndarray, np.ndarray]:
    """The first images of a list, and a mask that is False on padding."""
    if not isinstance(cell, list) or not cell:
      raise ValueError(f"{shown(cell)} is no list of images")
    leaf = self.spec[column.key]
    values = np.zeros(leaf.shape, leaf.dtype)
    image = Column(column.key, "image", column.names, column.own)
    for row, path in enumerate(cell[: len(values)]):
      values[row] = self._decode(image, path)
    return values, np.arange(len(values)) < len(cell)

  def _fault(self, position: int, column: str, reason: str) -> Fault:
    return Fault(
      index=int(self.index[position]),
      file=self._places.get(position, str(self._chosen.path)),
      line=self._lines[position],
      column=column,
      reason=reason,
    )
