"""Published results that an experiment reproduces."""

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
  """A row of a published table, and the number of ours that it is compared to.

  `published()` of a config file returns rows by the argument of `get_config`;
  `kdjax reproduce` runs and compares them.

  Args:
    text: the title of the row.
    stage: the stage of the experiment.
    published: the number in the paper, or None if it has none.
    tolerance: the largest accepted difference, more than 0.
    metric: on the test split, with the last variables.
    at: grid number -> values; our number is the mean over the points that have
      them. None is all points.
    note: a remark next to the row.

  Raises:
    UserError: the tolerance is not positive.
  """
  if not tolerance > 0:
    raise UserError(
      f"The tolerance of '{text}' is {tolerance}.",
      "Expected a number greater than 0.",
    )
  return {
    "text": text,
    "stage": stage,
    "published": published,
    "tolerance": tolerance,
    "metric": metric,
    "at": dict(at or {}),
    "note": note,
  }
