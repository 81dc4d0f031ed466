"""Sources: where a data set's examples lie once they are loaded."""

import dataclasses
from collections.abc import Mapping

import numpy as np


@dataclasses.dataclass(frozen=True)
class ArraySource:
  """A whole data set in memory, one array a key, examples on axis 0."""

  columns: Mapping[str, np.ndarray]

  def __len__(self) -> int:
    return len(self.columns["index"])

  def __getitem__(self, position: int) -> dict[str, np.ndarray]:
    return {key: column[position] for key, column in self.columns.items()}

  def take(self, positions: np.ndarray) -> dict[str, np.ndarray]:
    """The examples at `positions`, stacked: {key: [len(positions), ...]}."""
    return {key: column[positions] for key, column in self.columns.items()}

  @property
  def labels(self) -> np.ndarray:
    """int [len(self)]: the classes, -1 where there is no label."""
    return self.columns["label"]

  @property
  def labelled(self) -> np.ndarray:
    """bool [len(self)]: which examples carry a label."""
    return self.labels >= 0
