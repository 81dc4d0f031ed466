"""Means and deviations over seeds, as JSON has them: without NaN."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np


def mean_and_std(values: Sequence[float]) -> dict[str, Any]:
  """Mean and sample deviation over seeds; None where it is not finite.

  Args:
    values: one per seed.

  Returns:
    mean, std, and seeds: the values.
  """
  values = np.asarray(values, np.float64)
  std = values.std(ddof=1) if len(values) > 1 else math.nan
  return {
    "mean": finite(values.mean()),
    "std": finite(std),
    "seeds": [finite(value) for value in values],
  }


def of_known(values: Sequence[float | None]) -> dict[str, Any]:
  """`mean_and_std` over the seeds whose value is finite; the others are None.

  Args:
    values: one per seed.
  """
  listed = [math.nan if value is None else float(value) for value in values]
  known = [value for value in listed if math.isfinite(value)]
  found = mean_and_std(known) if known else {"mean": None, "std": None}
  return {**found, "seeds": [finite(value) for value in listed]}


def finite(value: float) -> float | None:
  """A number, or None if it is not finite."""
  return float(value) if math.isfinite(value) else None
