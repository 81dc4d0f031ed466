"""How an epoch is drawn: each example as often or each class, and with whom."""

from collections.abc import Collection

import numpy as np
from jaxtyping import Float, Int

from kdjax.errors import UserError
from kdjax.types import Source

# Each example as often, also beside others of its length; each class as often;
# and half-way.
SAMPLINGS = ("uniform", "similar_length", "balanced", "square_root")

# In which an example may come twice in an epoch.
REPEATING = ("balanced", "square_root")

# Batches whose examples are sorted by length together.
WINDOW = 50


def check(sampling: str, buckets: Collection[str]) -> None:
  """Raises `UserError` for a sampling that is none, or that cannot be.

  Args:
    sampling: one of SAMPLINGS.
    buckets: the modalities whose texts have buckets.
  """
  if sampling not in SAMPLINGS:
    raise UserError(
      f"No sampling '{sampling}'.", exists=SAMPLINGS, near=sampling
    )
  if sampling == "similar_length" and not buckets:
    raise UserError(
      "The sampling 'similar_length' of data without buckets.",
      "It is by the length of texts that are cut: buckets={'text': (16, 32)}.",
    )


def chances(
  sampling: str, source: Source, members: Int[np.ndarray, "M"]
) -> Float[np.ndarray, "M"] | None:
  """How likely each member of a pool is drawn; None: all alike, each once.

  Args:
    sampling: one of SAMPLINGS.
    source: examples, whose labels are asked for where they count.
    members: their positions in it.

  Raises:
    UserError: an example is of several classes.
  """
  if sampling in ("uniform", "similar_length") or not len(members):
    return None
  labels = source.labels[members]
  if labels.ndim > 1:
    raise UserError(
      f"The sampling '{sampling}' of examples of several classes.",
      "They have no one class to be drawn by.",
    )
  # Those without a label are a class of their own.
  _, place, count = np.unique(labels, return_inverse=True, return_counts=True)
  power = 1.0 if sampling == "balanced" else 0.5
  found = count[place].astype(np.float64) ** -power
  return found / found.sum()


def alike(
  order: Int[np.ndarray, "N"],
  lengths: Int[np.ndarray, "N"],
  share: int,
  start: int,
  rng: np.random.Generator,
) -> Int[np.ndarray, "N"]:
  """An epoch in which a batch holds examples of similar length.

  The batches that lie in the epoch as a whole are taken some at a time
  (WINDOW), their examples sorted by length (equal ones stay in their order) and
  cut into batches again; then all these are shuffled. What the epoch has of a
  batch that it shares with the one before or after it stays as it is.

  Args:
    order: the epoch as it was drawn.
    lengths: of the examples, by what stands in `order`.
    share: examples of a batch.
    start: how many examples the epoch has before its first own batch.
    rng: shuffles the batches.
  """
  count = max(len(order) - start, 0) // share
  stop = start + count * share
  own = order[start:stop]
  window = np.arange(len(own)) // (WINDOW * share)
  own = own[np.lexsort((lengths[own], window))]
  own = own.reshape(count, share)[rng.permutation(count)].reshape(-1)
  return np.concatenate([order[:start], own, order[stop:]])
