"""What was measured beside what was measured before."""

import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from kdjax.errors import UserError

# Of a result: where and how it was found, which are no rows.
APART = ("conditions", "machine")


def load(path: str, kind: str) -> dict[str, Any]:
  """What `kdjax bench --out` wrote.

  Args:
    path: of the file.
    kind: of what it is to be compared with.

  Raises:
    UserError: there is none, or it is of something else.
  """
  file = pathlib.Path(path)
  if not file.is_file():
    raise UserError(
      f"No file '{path}'.",
      "Expected one that kdjax bench --out wrote.",
      exists=sorted(map(str, file.parent.glob("*.json"))),
      near=path,
    )
  try:
    found = json.loads(file.read_text())
  except json.JSONDecodeError as error:
    raise UserError(f"{path} is no JSON: {error}.") from None
  if not isinstance(found, dict) or "kind" not in found:
    raise UserError(f"{path} is not of kdjax bench --out.")
  if found["kind"] != kind:
    raise UserError(
      f"{path} has the kind '{found['kind']}', what is measured now '{kind}'.",
      "Expected what the same command has written before.",
    )
  return found


def compare(now: Mapping[str, Any], then: Mapping[str, Any]) -> dict[str, Any]:
  """Every number that both have.

  Args:
    now: as `kdjax bench` found it.
    then: likewise, before; of the same kind.

  Returns:
    {"rows": [{"row", "then", "now", "ratio": now of then, None of 0}], "only
    now": rows, "only then": rows, "differs": {what: (then, now)} of what was
    measured}
  """
  new, old = dict(numbers(now)), dict(numbers(then))
  told = lambda found: {
    key: value for key, value in found.items() if isinstance(value, str | int)
  }
  mine, other = told(now), told(then)
  return {
    "rows": [
      {
        "row": row,
        "then": old[row],
        "now": value,
        "ratio": value / old[row] if old[row] else None,
      }
      for row, value in new.items()
      if row in old
    ],
    "only now": [row for row in new if row not in old],
    "only then": [row for row in old if row not in new],
    "differs": {
      key: (other.get(key), mine.get(key))
      for key in {**other, **mine}
      if other.get(key) != mine.get(key)
    },
  }


def numbers(found: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
  """Every number of a result by its row; of a spread, the median."""
  for key, value in found.items():
    if key not in APART and isinstance(value, Mapping | list):
      yield from _within(key, value)


def _within(name: str, value: Any) -> Iterator[tuple[str, float]]:
  if isinstance(value, Mapping) and "median" in value:
    value = value["median"]
  if isinstance(value, Mapping):
    for key, one in value.items():
      yield from _within(f"{name}, {key}", one)
  elif isinstance(value, list):
    # A table: the first column names its rows.
    for row in value:
      if isinstance(row, Mapping):
        (_, first), *rest = row.items()
        for key, one in rest:
          yield from _within(f"{name}: {first}, {key}", one)
  elif isinstance(value, int | float) and not isinstance(value, bool):
    yield name, float(value)
