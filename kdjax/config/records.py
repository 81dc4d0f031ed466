"""Files of a workdir that are read by more than the code that writes them."""

import pathlib
from collections.abc import Callable, Mapping
from types import NoneType
from typing import Any

from kdjax.config import strict_json
from kdjax.errors import UserError

# The keys and types of a line of metrics.jsonl.
METRIC = {
  "stage": str,
  "step": int,
  "seed": int,
  "name": str,
  "value": int | float | NoneType,
}
# Those of a stage's result.json; the further ones are metrics.
RESULT = {
  "steps": int,
  "seeds": list,
  "seconds": int | float,
  "examples_per_second": int | float,
}


def metrics(
  path: pathlib.Path, say: Callable[[str], None]
) -> list[dict[str, Any]]:
  """The lines of metrics.jsonl; `say` is called for each that is left out.

  Raises:
    UserError: the file cannot be read.
  """
  return strict_json.read_lines(path, METRIC, say)


def result(path: pathlib.Path) -> dict[str, Any] | None:
  """A stage's result.json, null metrics as NaN; None if it does not exist.

  Raises:
    UserError: the file cannot be read, or is no result.
  """
  if not path.exists():
    return None
  content = strict_json.read(path, nan=True)
  problem = strict_json.problem(content, RESULT)
  if problem:
    raise UserError(
      f"'{path}' is no result of a stage: {problem}.",
      "A run writes it anew: delete it and run the same command again.",
    )
  return content


def is_of(result: Mapping[str, Any], stage: Mapping[str, Any]) -> bool:
  """Whether a result is of all steps of a stage's config, or of an early stop.

  A stage that stopped early is finished whatever its steps are, and not for a
  larger patience, or none.

  Args:
    result: the stage's result.json.
    stage: its config.
  """
  stopped = result.get("stopped")
  if stopped:
    return 0 < stage.get("patience", 0) <= stopped["patience"]
  return result["steps"] >= stage["steps"]
