"""Intervals and p values of means over seeds, and their adjustment."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import special

from kdjax.report.numbers import finite

# The share of intervals that contain the true mean, of normal values.
COVERAGE = 0.95


def of_mean(values: Sequence[float]) -> dict[str, Any]:
  """Student's interval of a mean, and the p value of the mean 0.

  Values are independent and normal: differences paired by seed, say. Their p
  value is then that of the two-sided paired t-test.

  Args:
    values: one per seed.

  Returns:
    interval: [low, high] with 95 % coverage, and p: two-sided. Both are None
    for fewer than two values, or where one is not finite. Of equal values the
    interval is their value, and p is 1 if that is 0, otherwise 0.
  """
  values = np.asarray(values, np.float64)
  if len(values) < 2 or not np.all(np.isfinite(values)):
    return {"interval": None, "p": None}
  mean, freedom = values.mean(), len(values) - 1
  stderr = values.std(ddof=1) / math.sqrt(len(values))
  half = special.stdtrit(freedom, (1 + COVERAGE) / 2) * stderr
  if stderr > 0:
    p = 2 * special.stdtr(freedom, -abs(mean) / stderr)
  else:
    p = float(mean == 0)
  return {"interval": [finite(mean - half), finite(mean + half)], "p": float(p)}


def holm(values: Sequence[float | None]) -> list[float | None]:
  """P values of several tests, adjusted for their number.

  Rejecting all that are below a level keeps the probability of any false
  rejection below it, whatever the tests' dependence. Sture Holm, "A simple
  sequentially rejective multiple test procedure", Scandinavian Journal of
  Statistics, 1979: the i-th smallest of m is multiplied by m - i + 1, and is at
  least the one before it and at most 1.

  Args:
    values: of the tests; None is no test, and does not count.
  """
  adjusted: list[float | None] = [None] * len(values)
  known = [i for i, value in enumerate(values) if value is not None]
  least = 0.0
  for rank, i in enumerate(sorted(known, key=lambda i: values[i])):
    least = max(least, min(1.0, (len(known) - rank) * values[i]))
    adjusted[i] = least
  return adjusted
