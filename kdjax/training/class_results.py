"""The results of a stage by class, for its result.json."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kdjax.stage import class_names
from kdjax.stage.stage import Stage

# The metrics of a class, and how its examples are counted.
MEASURED, SUPPORT = ("precision", "recall", "f1"), "support"

ENDING = "_per_class"


def of(
  stage: Stage, results: Sequence[Mapping[str, Any]], seeds: int
) -> dict[str, dict[str, Any]]:
  """Precision, recall, F1 and support of every class on a split.

  Args:
    stage: that was evaluated.
    results: the metrics of each seed and grid point.
    seeds: their number.

  Returns:
    start -> {"classes": [K], their names or numbers; "precision", "recall",
    "f1", "support": [[K] per seed]}, for each of the stage's metrics that has
    them. `start` begins the names of its metrics: "" or "<name>/". With a grid,
    values are means over its points.
  """
  found = {}
  for name, spec in stage.config["metrics"].items():
    start = "" if name == spec["name"] else f"{name}/"
    if f"{start}{SUPPORT}{ENDING}" not in results[0]:
      continue
    values = {
      key: _means([it[f"{start}{key}{ENDING}"] for it in results], seeds)
      for key in (*MEASURED, SUPPORT)
    }
    count = len(values[SUPPORT][0])
    names = class_names.of_label(stage, class_names.label_of(spec["reads"]))
    if len(names) != count:
      names = map(str, range(count))
    found[start] = {"classes": [*names], **values}
  return found


def _means(values: Sequence[np.ndarray], seeds: int) -> list[list[float]]:
  """The mean over the grid points of each seed, of every class."""
  return np.reshape(values, (seeds, -1, len(values[0]))).mean(axis=1).tolist()
