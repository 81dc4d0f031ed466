"""Several things measured in turn, so that what slows a machine slows all."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np


def interleaved(
  runners: Mapping[str, Callable[[float], Any]], rounds: int, seconds: float
) -> dict[str, list[Any]]:
  """What each finds in each round; in a round each has its turn.

  Args:
    runners: name -> measures for some seconds and returns what it found.
    rounds: how many.
    seconds: of a turn.
  """
  found: dict[str, list[Any]] = {name: [] for name in runners}
  for _ in range(rounds):
    for name, run in runners.items():
      found[name].append(run(seconds))
  return found


def spread(values: Sequence[float]) -> dict[str, float]:
  """The median of some rounds, and between what half of them lie."""
  low, median, high = np.quantile(values, (0.25, 0.5, 0.75)).tolist()
  return {"median": median, "low": low, "high": high}
