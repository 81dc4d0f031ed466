"""Files and texts before they are cut or scaled, and sizes that fit them."""

import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from kdjax.data import _cell_files as cell_files
from kdjax.data import _columns, _layout
from kdjax.data._columns import Column
from kdjax.errors import UserError
from kdjax.preprocess import audio, images, sequences, tables, words

# Files of a column that are opened.
OPENED = 200
# So many of a hundred recordings, texts or sequences are not cut.
WHOLE = 95

# Sides of a picture; the smallest that is not below the median counts.
SIDES = (8, 16, 28, 32, 48, 64, 96, 128)
# Seconds of a recording, and its rates in Hz.
SECONDS, RATES = 10.0, (8000, 16000)
# Ids of a text, steps of a sequence, words of a vocabulary.
LENGTH, STEPS = 128, 512
WORDS = (1000, 2000, 5000, 10000)


def rooted(options: dict[str, Any], table: tables.Table) -> dict[str, Any]:
  """Options whose root is the folder that the paths of a table start from.

  Raises:
    UserError: a column's files are nowhere below the root.
  """
  root, starts = options["root"], set()
  if _layout.is_pattern(root, options["table"]):
    return options
  for column in _columns.parse(options["columns"]):
    cell = next(iter(_cells(table, column)), None)
    if column.kind not in _columns.FILES or not isinstance(cell, str):
      continue
    starts.add(_start(root, cell, column.names[0]))
  if len(starts) > 1:
    raise UserError(
      f"The files of '{options['table']}' start from several folders:"
      f" {', '.join(sorted(starts))}.",
      "Write paths relative to one folder into the table.",
    )
  start = "".join(starts)
  if not start:
    return options
  table_path = os.path.relpath(
    os.path.join(root, options["table"]), os.path.join(root, start)
  )
  return options | {"root": os.path.join(root, start), "table": table_path}


def _start(root: str, cell: str, name: str) -> str:
  """The folder below the root from which a path starts; "" is the root."""
  if os.path.exists(os.path.join(root, cell)):
    return ""
  wanted = cell.replace(os.sep, "/")
  for path, _ in _layout.files(root):
    if path.endswith(f"/{wanted}"):
      return path.removesuffix(f"/{wanted}")
  raise UserError(
    f"'{cell}' of the column '{name}' is no file below '{root}'.",
    "Paths are relative to the folder of --data.",
  )


def sizes(
  options: Mapping[str, Any], table: tables.Table, large: bool
) -> dict[str, Any]:
  """Options of `manifest` that fit pictures, recordings, texts, sequences.

  Args:
    options: with root, table and columns.
    table: its records.
    large: whether pictures may have more than 64 pixels.
  """
  found: dict[str, Any] = {}
  if options.get("window"):
    return found
  root = os.path.abspath(options["root"])
  for column in _columns.parse(options["columns"]):
    read = lambda measure, column=column: _read(table, column, root, measure)
    if column.kind == "image":
      found |= _of_images(read(images.size_of), read(_is_grey), large)
    elif column.kind == "audio":
      found |= _of_recordings(read(audio.length_of))
    elif column.kind == "sequence":
      steps = read(lambda file: len(sequences.read(file)))
      found |= {"steps": _length(steps, STEPS)} if steps else {}
  texts = [
    text
    for column in _columns.parse(options["columns"])
    if column.kind == "text"
    for cell in _cells(table, column)
    for text in (cell if isinstance(cell, list) else [cell])
  ]
  return found | (_of_texts(list(map(str, texts))) if texts else {})


def _cells(table: tables.Table, column: Column) -> list[Any]:
  """The cells of a column that are not empty."""
  name = column.names[0]
  return [row.cells[name] for row in table.rows if name in row.cells]


def _read(
  table: tables.Table, column: Column, root: str, measure: Callable[[Any], Any]
) -> list[Any]:
  """What is measured of some files; those that cannot be read are left out."""
  cells = _cells(table, column)
  found = []
  for cell in cells[:: max(1, len(cells) // OPENED)]:
    try:
      if isinstance(cell, list):
        found.append(measure(cell))
      else:
        found.append(measure(cell_files.open_cell(cell, root, column.kind)[0]))
    except ValueError:
      continue  # counted when it is decoded
  return found


def _is_grey(file: Any) -> bool:
  from PIL import Image

  try:
    with Image.open(file) as image:
      return image.mode in ("1", "L", "LA", "I", "I;16")
  except OSError as error:
    raise ValueError(f"{error}") from error


def _of_images(
  found: list[tuple[int, int]], grey: list[bool], large: bool
) -> dict[str, Any]:
  if not found:
    return {}
  most = 128 if large else 64
  side = float(np.median([min(size) for size in found]))
  fit = [it for it in SIDES if it <= most]
  chosen = next((it for it in fit if it >= side), most)
  channels = {"channels": 1} if all(grey) else {}
  return {"image_size": (chosen, chosen), **channels}


def _of_recordings(found: list[tuple[float, int]]) -> dict[str, Any]:
  if not found:
    return {}
  seconds = float(np.percentile([length for length, _ in found], WHOLE))
  # Tenths of a second, rounded up.
  seconds = min(SECONDS, max(0.1, float(np.ceil(10 * seconds - 1e-6) / 10)))
  highest = max(rate for _, rate in found)
  rate = RATES[0] if highest <= RATES[0] else RATES[1]
  return {"seconds": seconds, "sample_rate": rate}


def _of_texts(texts: list[str]) -> dict[str, Any]:
  """The tokenizer, the length and the vocabulary of texts."""
  split = [words.split(text) for text in texts]
  joined = [len(word) for of_one in split for word in of_one]
  characters = bool(joined) and float(np.mean(joined)) > 12
  if characters:
    lengths = [len(text) for text in texts]
    return {"tokenizer": "characters", "length": _length(lengths, LENGTH)}
  different = len({word for of_one in split for word in of_one})
  size = next((it for it in WORDS if it >= different + 2), WORDS[-1])
  return {
    "vocabulary_size": size,
    "length": _length([len(it) for it in split], LENGTH),
  }


def _length(found: list[int], most: int) -> int:
  """The length that WHOLE of a hundred have, as a multiple of 8."""
  length = float(np.percentile(found, WHOLE))
  return int(min(most, max(8, 8 * np.ceil(length / 8))))
