"""Records of a manifest that are whole recordings, cut into windows."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from kdjax.data import _labels, _tracks
from kdjax.data._columns import ALONE, Column, shown
from kdjax.data._tracks import Record
from kdjax.data._whole import Options, Whole
from kdjax.errors import UserError
from kdjax.preprocess import recordings

# Names in a remark.
_LISTED = 5


def lengths(chosen: Options) -> tuple[int, int]:
  """Steps of a window, and from one to the next.

  Raises:
    UserError: an option is impossible.
  """
  scale = chosen.rate or 1
  window = round(chosen.window * scale)
  step = round((chosen.step or chosen.window) * scale)
  whole = chosen.rate or window == chosen.window
  if window < 1 or step < 1 or not whole or not 0 <= chosen.purity <= 1:
    raise UserError(
      f"window={chosen.window}, step={chosen.step}, rate={chosen.rate} and"
      f" purity={chosen.purity} do not fit.",
      "Expected seconds if `rate` has the steps a second, else whole steps, and"
      " a share from 0 to 1.",
    )
  return window, step


def cut(whole: Whole, chosen: Options) -> Whole:
  """The windows of all recordings as records; `whole` if there is no window.

  A recording that cannot be read stays one record, with its faults.
  """
  if not chosen.window:
    _check_unused(whole, chosen)
    return whole
  columns = [it for it in whole.columns if it.kind == "sequence"]
  if not columns:
    raise UserError(
      f"window={chosen.window}, and no column is of the kind 'sequence'.",
      'Expected columns={"key": "sequence:column", ..}.',
    )
  window, step = lengths(chosen)
  records = [*_tracks.read(whole, chosen, columns)]
  first = [
    np.zeros(1, int)
    if record is None
    else recordings.starts(record.steps, window, step)
    for record in records
  ]
  _remark_short(whole, chosen, columns[0], records, first)
  rows = np.repeat(np.arange(len(records)), [len(it) for it in first])
  start = np.concatenate([*first, np.zeros(0, int)])
  made = {}
  for column in columns:
    made |= _values(whole, column, records, rows, start, window)
  kept = np.ones(len(rows), bool)
  labels = _labels_of(whole, chosen, records, first, window)
  for key, (label, purity) in labels.items():
    made[key] = label
    # One without any label is an unlabelled example.
    kept &= (purity >= chosen.purity) | (label < 0)
  if not kept.all():
    whole.remarks.append(
      f"{(~kept).sum()} of {len(kept)} windows have a smaller share of one"
      f" class than purity={chosen.purity}, and are left out."
    )
  return _expanded(whole, made, rows, kept)


def _check_unused(whole: Whole, chosen: Options) -> None:
  """Raises `UserError` for an option that only windows have."""
  stated = [it for it in ("step", "rate", "purity") if getattr(chosen, it)]
  own = [name for column in whole.columns for name, _ in column.own]
  stated += [name for name in own if name in ALONE]
  if stated:
    raise UserError(
      f"{stated[0]} is stated, and window=0.",
      "It is of windows of recordings: set `window`, their length.",
    )


def _expanded(
  whole: Whole, made: Mapping[str, np.ndarray], rows: np.ndarray, kept
) -> Whole:
  """The table with a row a window: what is of a recording is repeated."""
  values = {key: it[rows] for key, it in whole.values.items()} | made
  rows = rows[kept]
  faults = {
    place: whole.faults[row]
    for place, row in enumerate(rows.tolist())
    if row in whole.faults
  }
  return dataclasses.replace(
    whole,
    rows=tuple(whole.rows[row] for row in rows),
    split=whole.split[rows],
    stated=whole.stated[rows],
    values={key: it[kept] for key, it in values.items()},
    cells={key: [it[row] for row in rows] for key, it in whole.cells.items()},
    faults=faults,
  )


def _values(
  whole: Whole,
  column: Column,
  records: list[Record | None],
  rows: np.ndarray,
  start: np.ndarray,
  window: int,
) -> dict[str, np.ndarray]:
  """A key's windows, their masks, and which have a step of it."""
  key = column.key
  features = whole.features.setdefault(key, 1)
  values = np.zeros((len(rows), window, features), np.float32)
  mask = np.zeros((len(rows), window), bool)
  lacking = set()
  for place, (row, first) in enumerate(zip(rows, start, strict=True)):
    record = records[row]
    if record is not None and key in record.values:
      own, known = record.values[key]
      values[place] = own[first : first + window]
      mask[place] = known[first : first + window]
    elif record is not None and whole.cells[key][row] is not None:
      lacking.add(int(row))
  if lacking:
    whole.remarks.append(
      f"'{key}': {len(lacking)} recordings lack one of its fields, and have no"
      f" '{key}'."
    )
  if mask.any() and not mask[mask.any(axis=1)].all():
    share = 100 * (~mask[mask.any(axis=1)]).mean()
    whole.remarks.append(
      f"'{key}': {share:.2g} % of the steps are not measured, and masked."
    )
  return {key: values, f"mask/{key}": mask, f"has/{key}": mask.any(axis=1)}


def _labels_of(
  whole: Whole,
  chosen: Options,
  records: list[Record | None],
  first: list[np.ndarray],
  window: int,
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
  """key -> label and purity of every window, where steps have labels."""
  result = {}
  for column in _tracks.stepwise(whole, chosen):
    field, own = (
      column.option("field", chosen),
      column.option("classes", chosen),
    )
    cells = [it.labels.get(field, []) if it else [] for it in records]
    names = tuple(own) or _labels.classes_of(
      cell
      for row, part in enumerate(cells)
      for cell in {*part}
      if cell is not None and not whole.stated[row]
    )
    whole.classes[column.key] = names
    classes = _labels.Classes(names, bool(own), "`classes` would name all")
    labels, purities = [], []
    for row, part in enumerate(cells):
      number = {None: -1}
      for cell in sorted({*part} - {None}):
        try:
          number[cell] = classes.label(cell)
        except ValueError as error:
          number[cell] = -1
          whole.add_fault(row, column.names[0], str(error))
      steps = np.array([number[cell] for cell in part], np.int32)
      if records[row] is None or not part:
        found = (np.full(len(first[row]), -1), np.zeros(len(first[row])))
      else:
        found = recordings.majority(steps, first[row], window)
      labels.append(found[0])
      purities.append(found[1])
    label = np.concatenate([*labels, np.zeros(0)]).astype(np.int32)
    result[column.key] = label, np.concatenate([*purities, np.zeros(0)])
  return result


def _remark_short(
  whole: Whole,
  chosen: Options,
  column: Column,
  records: list[Record | None],
  first: list[np.ndarray],
) -> None:
  """Remarks on recordings that have no window."""
  short = [row for row, it in enumerate(first) if not len(it)]
  if not short:
    return
  names = []
  for row in short[:_LISTED]:
    steps = records[row].steps / (chosen.rate or 1)
    names.append(f"{shown(whole.cells[column.key][row])} ({steps:g})")
  whole.remarks.append(
    f"{len(short)} of {len(first)} recordings are shorter than"
    f" window={chosen.window} and have no example: {', '.join(names)}"
    + (", .." if len(short) > _LISTED else ".")
  )
