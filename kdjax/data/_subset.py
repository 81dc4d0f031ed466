"""Fewer examples than there are, or fewer labels, with every class its part."""

import numpy as np
from jaxtyping import Int

from kdjax.errors import UserError

# It belongs to the data: no seed of a run changes which examples come first.
_SEED = 61


def spread(
  labels: Int[np.ndarray, "N"], seed: int = _SEED
) -> Int[np.ndarray, "N"]:
  """An order of all positions, any beginning of which has the classes' shares.

  Args:
    labels: the class of each.
    seed: draws the order.
  """
  rng = np.random.default_rng(seed)
  places = np.empty(len(labels))
  for label in np.unique(labels):
    members = rng.permutation(np.flatnonzero(labels == label))
    ranks = np.arange(len(members)) + rng.random(len(members))
    places[members] = ranks / len(members)
  return np.argsort(places, kind="stable")


def limited(
  labels: Int[np.ndarray, "N"], *limits: int
) -> Int[np.ndarray, "M"] | slice:
  """The positions, ascending, of the first few of `spread`, or all of them.

  Args:
    labels: the class of each.
    *limits: the most there may be; 0 is no limit.
  """
  count = min([limit for limit in limits if limit], default=len(labels))
  if count >= len(labels):
    return slice(None)
  return np.sort(spread(labels)[:count])


def keep_labels(
  labels: Int[np.ndarray, "N"], per_class: int, seed: int
) -> Int[np.ndarray, "N"]:
  """Only `per_class` labels a class, drawn by `seed`; -1 elsewhere."""
  rng = np.random.default_rng(seed)
  kept = np.full_like(labels, -1)
  for label in np.unique(labels):
    members = np.flatnonzero(labels == label)
    if not 0 < per_class <= len(members):
      raise UserError(
        f"labels_per_class={per_class}.",
        f"Class {label} has {len(members)} training examples; 0 keeps all.",
      )
    kept[rng.choice(members, per_class, replace=False)] = label
  return kept
