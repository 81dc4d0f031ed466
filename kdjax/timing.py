"""Several things measured in turn, so that what slows a machine slows all."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any


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
  """The median of some rounds, and the least and the most."""
  each = [float(value) for value in values]
  return {
    "median": statistics.median(each),
    "least": min(each),
    "most": max(each),
  }
