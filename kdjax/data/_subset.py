"""Subsets of examples or labels, stratified by class."""

import numpy as np
from jaxtyping import Int

from kdjax.errors import UserError

# The order belongs to the data: no seed of a run changes it.
_SEED = 61


def spread(
  labels: Int[np.ndarray, "N"], seed: int = _SEED
) -> Int[np.ndarray, "N"]:
  """An order of all positions; every prefix has the classes' shares.

  Args:
    labels: the class of each.
    seed: draws the order.
  """
  rng = np.random.default_rng(seed)
  ranks = np.empty(len(labels))
  for label in np.unique(labels):
    members = rng.permutation(np.flatnonzero(labels == label))
    spread_out = np.arange(len(members)) + rng.random(len(members))
    ranks[members] = spread_out / len(members)
  return np.argsort(ranks, kind="stable")


def limited(
  labels: Int[np.ndarray, "N"], *limits: int
) -> Int[np.ndarray, "M"] | slice:
  """The positions, ascending, of the first few of `spread`, or all of them.

  Args:
    labels: the class of each.
    *limits: upper bounds of the count; 0 is no limit.
  """
  count = min([limit for limit in limits if limit], default=len(labels))
  if count >= len(labels):
    return slice(None)
  return np.sort(spread(labels)[:count])


def keep_labels(
  labels: Int[np.ndarray, "N"] | None,
  per_class: int,
  seed: int,
  *,
  or_all: bool = False,
) -> Int[np.ndarray, "N"]:
  """`per_class` labels of each class, drawn by `seed`; the others are -1.

  Args:
    labels: the class of each; -1 is none.
    per_class: labels to keep.
    seed: draws them.
    or_all: whether a class that has fewer keeps all.

  Raises:
    UserError: a class has fewer, or there is not one label per example.
  """
  if labels is None or labels.ndim != 1:
    raise UserError(
      f"labels_per_class={per_class}, and the data has"
      f" {'no labels' if labels is None else 'several labels per example'}.",
      "It needs the key 'label', with one label per example.",
    )
  rng = np.random.default_rng(seed)
  kept = np.full_like(labels, -1)
  for label in np.unique(labels[labels >= 0]):
    members = np.flatnonzero(labels == label)
    count = min(per_class, len(members)) if or_all else per_class
    if not 0 < count <= len(members):
      raise UserError(
        f"labels_per_class={per_class} does not fit class {label}.",
        f"It has {len(members)} training examples; 0 keeps all labels.",
      )
    kept[rng.choice(members, count, replace=False)] = label
  return kept
