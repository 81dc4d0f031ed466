"""A batch from where its examples lie, and from what was drawn of it."""

from collections.abc import Mapping

import numpy as np

from kdjax.feed import buckets as bucketing
from kdjax.types import Source


def gathered(
  source: Source,
  at: Mapping[str, np.ndarray],
  partners: tuple[str, ...] = (),
) -> dict[str, np.ndarray]:
  """The examples that were drawn, from a source of the host."""
  others = source.take(at["partner"]) if partners else {}
  return joined(source.take(at["position"]), at, others, partners)


def joined(found, at, others, partners):
  """Examples, what was drawn beside them, and their partners.

  Of arrays of the host or of a device.
  """
  batch = dict(found)
  batch |= {
    key: value
    for key, value in at.items()
    if key not in ("position", "partner")
  }
  if "valid" in found:
    # A broken record stands in its place, and counts nowhere.
    batch["valid"] = at["valid"] & found["valid"]
    batch["has/record"] = found["valid"]
    if partners:
      # Nobody is mixed with a record that cannot be read.
      batch["partner/valid"] = others["valid"]
  batch |= {f"partner/{key}": others[key] for key in partners}
  return bucketing.cut(batch)
