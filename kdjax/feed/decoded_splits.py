"""A cache of decoded splits in memory, for stages that hold them again."""

import collections

import numpy as np

from kdjax.types import Source

# Of a source, as `_key` returns it -> columns, the most recently used last.
_splits: collections.OrderedDict[tuple, dict[str, np.ndarray]] = (
  collections.OrderedDict()
)


def get(source: Source) -> dict[str, np.ndarray] | None:
  """The cached columns of a source with the same fingerprint, or None.

  Broken records are read again, so that this source lists them, or raises, as
  if it had decoded the whole split.
  """
  key = _key(source)
  if key not in _splits:
    return None
  _splits.move_to_end(key)
  columns = _splits[key]
  if "valid" in columns and not columns["valid"].all():
    source.take(np.flatnonzero(~columns["valid"]))
  return dict(columns)


def put(source: Source, columns: dict[str, np.ndarray], most: int) -> None:
  """Caches the decoded columns of a source, and makes them read-only.

  Args:
    source: not cached if it has no fingerprint.
    columns: its decoded columns.
    most: bytes of the whole cache; the least recently used are removed.
  """
  key = _key(source)
  if key is None or _bytes(columns) > most:
    return
  for column in columns.values():
    column.flags.writeable = False
  _splits[key] = dict(columns)
  while sum(map(_bytes, _splits.values())) > most:
    _splits.popitem(last=False)


def clear() -> None:
  """Empties the cache."""
  _splits.clear()


def _key(source: Source) -> tuple | None:
  """The fingerprint, and the functions that made the columns, if any did."""
  fingerprint = getattr(source, "fingerprint", None)
  made_by = getattr(source, "made_by", None)
  return None if fingerprint is None else (fingerprint, made_by)


def _bytes(columns: dict[str, np.ndarray]) -> int:
  return sum(column.nbytes for column in columns.values())
