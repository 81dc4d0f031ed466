"""Compares a result of `kdjax bench` with an earlier one."""

import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from kdjax.errors import UserError

# Parts of a result that describe the measurement and are not compared.
CONDITIONS = ("conditions", "machine")


def load(path: str, kind: str) -> dict[str, Any]:
  """Reads a file that `kdjax bench --out` wrote.

  Args:
    path: of the file.
    kind: of the result that it is compared with.

  Raises:
    UserError: the file does not exist, or has another kind of result.
  """
  file = pathlib.Path(path)
  if not file.is_file():
    raise UserError(
      f"The file '{path}' of --against does not exist.",
      "Expected a file that kdjax bench --out wrote.",
      exists=sorted(map(str, file.parent.glob("*.json"))),
      near=path,
    )
  try:
    result = json.loads(file.read_text())
  except json.JSONDecodeError as error:
    raise UserError(f"{path} is not valid JSON: {error}.") from None
  if not isinstance(result, dict) or "kind" not in result:
    raise UserError(
      f"{path} is not a result of kdjax bench.",
      "Expected a file that kdjax bench --out wrote.",
    )
  if result["kind"] != kind:
    raise UserError(
      f"{path} has a result of kind '{result['kind']}', but '{kind}' is"
      " measured now.",
      "Expected a result of the same command.",
    )
  return result


def compare(
  now: Mapping[str, Any], before: Mapping[str, Any]
) -> dict[str, Any]:
  """Compares all numbers that two results share.

  Args:
    now: a result of `kdjax bench`.
    before: an earlier result of the same kind.

  Returns:
    {"rows": [{"row", "before", "now", "ratio": now / before, None if before is
    0}], "only now": rows, "only before": rows, "differs": {setting: (before,
    now)}}
  """
  new, old = dict(numbers(now)), dict(numbers(before))
  settings = lambda result: {
    key: value for key, value in result.items() if isinstance(value, str | int)
  }
  new_settings, old_settings = settings(now), settings(before)
  return {
    "rows": [
      {
        "row": row,
        "before": old[row],
        "now": value,
        "ratio": value / old[row] if old[row] else None,
      }
      for row, value in new.items()
      if row in old
    ],
    "only now": [row for row in new if row not in old],
    "only before": [row for row in old if row not in new],
    "differs": {
      key: (old_settings.get(key), new_settings.get(key))
      for key in {**old_settings, **new_settings}
      if old_settings.get(key) != new_settings.get(key)
    },
  }


def numbers(result: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
  """Yields (row, number) for every number; for quartiles, the median."""
  for key, value in result.items():
    if key not in CONDITIONS and isinstance(value, Mapping | list):
      yield from _numbers_in(key, value)


def _numbers_in(name: str, value: Any) -> Iterator[tuple[str, float]]:
  if isinstance(value, Mapping) and "median" in value:
    value = value["median"]
  if isinstance(value, Mapping):
    for key, child in value.items():
      yield from _numbers_in(f"{name}, {key}", child)
  elif isinstance(value, list):
    # A table: the first column names its rows.
    for row in value:
      if isinstance(row, Mapping):
        (_, first), *rest = row.items()
        for key, child in rest:
          yield from _numbers_in(f"{name}: {first}, {key}", child)
  elif isinstance(value, int | float) and not isinstance(value, bool):
    yield name, float(value)
