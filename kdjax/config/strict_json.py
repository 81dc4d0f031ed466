"""JSON that every parser reads: numbers that are not finite become null.

Python's `json` writes NaN and Infinity, which are not JSON.
"""

import json
import math
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from kdjax.errors import UserError


def dumps(content: Any, **options) -> str:
  """Content as JSON, with null for NaN and infinities.

  Args:
    content: dicts, lists, tuples, strings and numbers.
    **options: of `json.dumps`.
  """
  return json.dumps(_finite(content), allow_nan=False, **options)


def holds(content: Any) -> bool:
  """Whether every number in the content is finite."""
  if isinstance(content, dict):
    return all(map(holds, content.values()))
  if isinstance(content, list | tuple):
    return all(map(holds, content))
  return not isinstance(content, float) or math.isfinite(content)


def loads_numbers(text: str) -> Any:
  """JSON read with NaN for null; the content has no other null."""
  return _with_nan(json.loads(text))


def read(path: pathlib.Path, *, nan: bool = False) -> Any:
  """The content of a JSON file that a run wrote.

  Args:
    path: of the file.
    nan: whether null stands for NaN.

  Raises:
    UserError: the file cannot be read, or is empty, cut off or no JSON.
  """
  try:
    content = json.loads(path.read_text(encoding="utf-8"))
  except (OSError, ValueError, RecursionError) as error:
    size = path.stat().st_size if path.is_file() else 0
    reason = f"{error}" if size else "it is empty"
    raise UserError(
      f"'{path}' cannot be read: {reason}.",
      "A run writes it anew: delete it and run the same command again.",
    ) from error
  if not isinstance(content, dict):
    raise UserError(
      f"'{path}' holds {type(content).__name__}, not an object.",
      "A run writes it anew: delete it and run the same command again.",
    )
  return _with_nan(content) if nan else content


def read_lines(
  path: pathlib.Path, types: Mapping[str, Any], say: Callable[[str], None]
) -> list[dict[str, Any]]:
  """The records of a file with one JSON object a line.

  A line that is damaged, as by a crash of the machine, is left out alone. A
  last line without its end is left out silently: a run was killed meanwhile.

  Args:
    path: of the file; without it there are no records.
    types: the keys that each record has, and their types.
    say: is called with a sentence for every line that is left out.

  Raises:
    UserError: the file cannot be read.
  """
  try:
    lines = path.read_bytes().split(b"\n") if path.exists() else [b""]
  except OSError as error:
    raise UserError(
      f"'{path}' cannot be read: {error.strerror}.", "Delete or rename it."
    ) from error
  records = []
  for number, line in enumerate(lines[:-1], 1):
    if not line.strip():
      continue
    try:
      record = json.loads(line)
      fault = problem(record, types)
    except (ValueError, RecursionError) as error:
      fault = f"{error}"
    if fault:
      say(f"{path}, line {number} is left out: {fault}.")
    else:
      records.append(record)
  return records


def problem(record: Any, types: Mapping[str, Any]) -> str:
  """What keeps a value from being an object with keys of some types, or ""."""
  if not isinstance(record, dict):
    return f"it is a {type(record).__name__}, not an object"
  for key, expected in types.items():
    if key not in record:
      return f"it lacks '{key}'"
    if not isinstance(record[key], expected):
      return f"'{key}' is a {type(record[key]).__name__}"
  return ""


def _finite(tree: Any) -> Any:
  if isinstance(tree, dict):
    return {key: _finite(value) for key, value in tree.items()}
  if isinstance(tree, list | tuple):
    return [_finite(value) for value in tree]
  return tree if holds(tree) else None


def _with_nan(tree: Any) -> Any:
  if isinstance(tree, dict):
    return {key: _with_nan(value) for key, value in tree.items()}
  if isinstance(tree, list):
    return [_with_nan(value) for value in tree]
  return math.nan if tree is None else tree
