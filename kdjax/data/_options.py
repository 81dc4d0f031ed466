"""The options of a data set: as passed, or the defaults of its `load`."""

from collections.abc import Callable, Mapping
from typing import Any

from kdjax.errors import UserError


def chosen(load: Callable, options: Mapping[str, Any]) -> dict[str, Any]:
  """Every option of `load`: its value in `options`, or else its default.

  Raises:
    UserError: `load` has no such option.
  """
  known = load.__kwdefaults__
  for key in options:
    if key not in known:
      raise UserError(f"No option '{key}'.", exists=known, near=key)
  return {**known, **options}


def check_counts(**counts: int) -> None:
  """Raises `UserError` for a negative number of examples."""
  for name, count in counts.items():
    if count < 0:
      raise UserError(
        f"{name}={count} is negative.", "Expected 1 or more; 0 takes all."
      )
