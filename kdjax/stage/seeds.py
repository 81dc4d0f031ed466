"""Which splits of a data set depend on the seed."""

from collections.abc import Mapping
from typing import Any


def seed_draws(dataset: Any, options: Mapping[str, Any]) -> str:
  """Which splits of a data set depend on the seed: "none", "train" or "all".

  Args:
    dataset: its module, with a function `seed_draws` of the options, or one of
      the constants SEED_DRAWS and SEED_DRAWS_ALL; without any, train does.
    options: of its `load`.
  """
  draws = getattr(dataset, "seed_draws", None)
  if draws:
    return draws(**options)
  if getattr(dataset, "SEED_DRAWS_ALL", False):
    return "all"
  return "train" if getattr(dataset, "SEED_DRAWS", True) else "none"
