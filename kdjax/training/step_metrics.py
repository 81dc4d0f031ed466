"""The metrics of the steps since the last record, on the devices until then."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from kdjax.devices.placement import Placement


class StepMetrics:
  """Collects the metrics of steps; fetching them waits for the devices.

  Args:
    placement: of the stage.
  """

  def __init__(self, placement: Placement):
    self.placement = placement
    self.calls: list[Any] = []
    # Of steps before a restart: they are saved with a checkpoint.
    self.earlier: dict[str, np.ndarray] = {}

  def add(self, metrics: Sequence[Any]) -> None:
    """Adds the metrics of one call of the step, one entry a seed."""
    self.calls.append(metrics)

  def fetch(self) -> dict[str, Float[np.ndarray, "N S"]]:
    """The metrics of the steps since the last record, on the host."""
    fetched = [self.placement.fetch(metrics) for metrics in self.calls]
    named = by_step(fetched) if fetched else {}
    for name, rows in self.earlier.items():
      named[name] = np.concatenate([rows, *[named[name]] * (name in named)])
    return named

  def clear(self) -> None:
    """Forgets all steps: they are recorded."""
    self.calls, self.earlier = [], {}

  def saved(self) -> dict[str, list]:
    """The metrics as lists, for the facts of a checkpoint."""
    return {name: rows.tolist() for name, rows in self.fetch().items()}

  def restore(self, saved: Mapping[str, list]) -> None:
    """Continues with the metrics that `saved` returned."""
    self.earlier = {name: np.asarray(rows) for name, rows in saved.items()}


def by_step(
  recorded: Sequence[Sequence[Mapping[str, np.ndarray]]],
) -> dict[str, Float[np.ndarray, "N S"]]:
  """The metrics of several calls of the step: {name: [steps, seeds]}.

  Args:
    recorded: for each call and seed, {name: [] of one step, or [n] of n}.
  """
  rows = lambda call, name: np.stack([np.atleast_1d(s[name]) for s in call], 1)
  return {
    name: np.concatenate([rows(call, name) for call in recorded]).astype(
      np.float64
    )
    for name in recorded[0][0]
  }


def means_of(
  named: Mapping[str, Float[np.ndarray, "N S"]],
) -> dict[str, Float[np.ndarray, "S"]]:
  """The means over steps of each seed.

  A term's loss is weighted by the number of examples that it counted.
  """
  means = {}
  for name, values in named.items():
    weights = None
    if name.startswith("loss/"):
      weights = named[name.replace("loss/", "count/", 1)]
      weights = np.where(weights.sum(0) > 0, weights, 1.0)
    means[name] = np.average(values, axis=0, weights=weights)
  return means
