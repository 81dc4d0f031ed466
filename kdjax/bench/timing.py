"""Interleaved measurements, so that a slow machine affects all alike."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from kdjax.config import progress


def interleaved(
  runners: Mapping[str, Callable[[float], Any]], rounds: int, seconds: float
) -> dict[str, list[Any]]:
  """Runs all measurements once per round.

  Args:
    runners: name -> measures for some seconds and returns a result.
    rounds: the number of rounds.
    seconds: of each measurement in a round.

  Returns:
    name -> the result of each round.
  """
  results: dict[str, list[Any]] = {name: [] for name in runners}
  turns = [*runners.items()] * rounds
  named = {"unit": "measurements", "bar": False}
  for name, run in progress.tracked(turns, "bench", **named):
    results[name].append(run(seconds))
  return results


def quartiles(values: Sequence[float]) -> dict[str, float]:
  """The "median", and the quartiles "low" and "high"."""
  low, median, high = np.quantile(values, (0.25, 0.5, 0.75)).tolist()
  return {"median": median, "low": low, "high": high}
