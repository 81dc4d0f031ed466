"""What is published of an experiment, to be met by it."""

from typing import Any

from kdjax.errors import UserError


def result(
  text: str,
  stage: str,
  published: float | None,
  tolerance: float,
  *,
  metric: str = "accuracy",
  at: dict[str, tuple[float, ...]] | None = None,
  note: str = "",
) -> dict[str, Any]:
  """A row of a published table, and where in an experiment it stands.

  `published()` of a config file gives, by the argument of its `get_config`,
  such rows; `kdjax reproduce` runs them.

  Args:
    text: what the row is called.
    stage: of the experiment.
    published: the number in the paper; None is one that is not known.
    tolerance: how far ours may be off.
    metric: of the test split, its last variables.
    at: of a grid, number -> its values at the points that count, whose mean is
      the number; None is all points.
    note: what else a reader should know of it.
  """
  if not tolerance > 0:
    raise UserError(f"'{text}' has a tolerance of {tolerance}.")
  return {
    "text": text,
    "stage": stage,
    "published": published,
    "tolerance": tolerance,
    "metric": metric,
    "at": dict(at or {}),
    "note": note,
  }
