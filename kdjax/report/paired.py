"""Differences of two stages, paired by seed."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kdjax.report import intervals
from kdjax.report.numbers import mean_and_std


def difference(
  results: Sequence[Mapping[str, Any]], values: Sequence[Sequence[Any]]
) -> dict[str, Any] | None:
  """The first less the second, over the seeds that both have.

  Args:
    results: of the two stages, with their `seeds`.
    values: of a metric, for each of them one per seed; None is not finite.

  Returns:
    mean, std, seeds (the differences), interval and p, see
    `intervals.of_mean`. None without a common seed, or where the metric is not
    a single number.
  """
  left, right = (
    dict(zip(result["seeds"], of, strict=False))
    for result, of in zip(results, values, strict=True)
  )
  pairs = [(left[seed], right[seed]) for seed in left if seed in right]
  if not pairs or not all(is_scalar(it) for pair in pairs for it in pair):
    return None
  one, other = np.asarray(pairs, np.float64).T
  return {**mean_and_std(one - other), **intervals.of_mean(one - other)}


def is_scalar(value: Any) -> bool:
  """Whether a value is a single number; one that is not finite may be None."""
  return value is None or isinstance(value, int | float)
