"""Metrics by group, measured by themselves where the data has groups.

An example's group is the data's key `group`, int [], -1 where it has none; a
data set may name groups with `group_names(**options)`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from kdjax.types import Spec

KEY = "group"
FAMILY = "by_group"


def with_groups(
  metrics: Mapping[str, Mapping], select: str, spec: Spec
) -> dict[str, Any]:
  """The metrics of a stage, with those by group added.

  They read what the metrics `classification` read: those that `select` is of,
  or else the first. Nothing is added where there are none, where the data has
  no groups, and where the config has metrics by group.

  Args:
    metrics: of the stage's config.
    select: the metric that chooses the best variables.
    spec: of the data.
  """
  added = dict(metrics)
  leaf = spec.get(KEY)
  if leaf is None or leaf.shape or not np.issubdtype(leaf.dtype, np.integer):
    return added
  kinds = {key: metric["name"] for key, metric in metrics.items()}
  plain = [key for key, name in kinds.items() if name == "classification"]
  if not plain or FAMILY in (*kinds, *kinds.values()):
    return added
  chosen = select.rpartition("/")[0]
  source = metrics[chosen if chosen in plain else plain[0]]
  added[FAMILY] = {
    "name": FAMILY,
    "reads": {**source["reads"], "group_id": f"batch/{KEY}"},
    "heads": dict(source["heads"]),
  }
  return added


def names(dataset: Any, options: Mapping[str, Any]) -> tuple[str, ...]:
  """The names of groups 0, 1, ..; () where the data set has none.

  Args:
    dataset: its module.
    options: of its `load`.
  """
  return tuple(getattr(dataset, "group_names", lambda **_: ())(**options))
