"""Splits that were decoded before, kept for a stage that holds them again."""

import collections

import numpy as np

from kdjax.types import Source

# fingerprint -> columns, the one that was asked for last at the end.
_kept: collections.OrderedDict[str, dict[str, np.ndarray]] = (
  collections.OrderedDict()
)


def find(source: Source) -> dict[str, np.ndarray] | None:
  """The columns of a source with the same fingerprint, if they are kept.

  The records that were broken there are read again, so that this source knows
  of them too: it lists them, or raises, as if it had decoded all.
  """
  fingerprint = getattr(source, "fingerprint", None)
  if fingerprint not in _kept:
    return None
  _kept.move_to_end(fingerprint)
  found = _kept[fingerprint]
  if "valid" in found and not found["valid"].all():
    source.take(np.flatnonzero(~found["valid"]))
  return dict(found)


def keep(source: Source, columns: dict[str, np.ndarray], most: int) -> None:
  """Keeps what a source was decoded to; nobody may write into it any more.

  Args:
    source: one without a fingerprint is not kept.
    columns: of it.
    most: bytes of all that is kept; who was not asked for longest goes.
  """
  fingerprint = getattr(source, "fingerprint", None)
  if fingerprint is None or _bytes(columns) > most:
    return
  for column in columns.values():
    column.flags.writeable = False
  _kept[fingerprint] = dict(columns)
  while sum(map(_bytes, _kept.values())) > most:
    _kept.popitem(last=False)


def forget() -> None:
  """Frees all that is kept."""
  _kept.clear()


def _bytes(columns: dict[str, np.ndarray]) -> int:
  return sum(column.nbytes for column in columns.values())
