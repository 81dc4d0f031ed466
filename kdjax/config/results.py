"""Published results that an experiment reproduces."""

from collections.abc import Sequence
from typing import Any

from kdjax.errors import UserError

# What a paper may state of a gain, where it states no number.
SIGNS = ("+", "-")


def result(
  text: str,
  stage: str | Sequence[str],
  published: float | str | None,
  tolerance: float | None = None,
  *,
  over: str = "",
  metric: str = "accuracy",
  at: dict[str, tuple[float, ...]] | None = None,
  note: str = "",
) -> dict[str, Any]:
  """A row of a published table, and the number of ours that it is compared to.

  `published()` of a config file returns rows by the argument of `get_config`;
  `kdjax reproduce` runs and compares them. A row is one of four kinds:

    result("student", "distilled", 0.92, 0.01)                   a number
    result("gain", "distilled", 0.03, 0.01, over="alone")        a paired gain
    result("helps", "distilled", "+", over="alone")              its sign
    result("order", ("teacher", "distilled", "alone"), "order")  best first

  Args:
    text: the title of the row.
    stage: the stage of the experiment; of an order, all of its stages, the one
      with the largest metric first.
    published: the number in the paper, "+" or "-" for the sign of a gain,
      "order", or None if the paper has none.
    tolerance: the largest accepted difference to a number, more than 0.
    over: the stage that a gain is over; differences are paired by seed.
    metric: on the test split, with the last variables.
    at: grid number -> values; our number is the mean over the points that have
      them. None is all points.
    note: a remark next to the row.

  Raises:
    UserError: the tolerance is not positive, or the arguments are of no kind.
  """
  order = not isinstance(stage, str)
  if order != (published == "order"):
    raise UserError(
      f"'{text}' has the stage {stage!r} and published={published!r}.",
      'Expected published="order" and at least two stages, or one stage.',
    )
  if published in SIGNS and not over:
    raise UserError(
      f"'{text}' has the sign '{published}', and no `over`.",
      "Expected over=<stage>: the sign is that of a gain.",
    )
  if isinstance(published, str) and published not in (*SIGNS, "order"):
    raise UserError(
      f"'{text}' has published={published!r}.",
      'Expected a number, None, "+", "-" or "order".',
    )
  if isinstance(published, str):
    tolerance = None
  elif tolerance is None or not tolerance > 0:
    raise UserError(
      f"The tolerance of '{text}' is {tolerance}.",
      "Expected a number greater than 0.",
    )
  return {
    "text": text,
    "stage": stage if isinstance(stage, str) else tuple(stage),
    "published": published,
    "tolerance": tolerance,
    "over": over,
    "metric": metric,
    "at": dict(at or {}),
    "note": note,
  }
