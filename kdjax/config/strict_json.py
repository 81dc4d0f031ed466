"""JSON that every parser reads: numbers that are not finite become null.

Python's `json` writes NaN and Infinity, which are not JSON.
"""

import json
import math
from typing import Any


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
