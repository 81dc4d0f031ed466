"""How often each example is drawn in an epoch, and with which others."""

from collections.abc import Collection

import numpy as np
from jaxtyping import Float, Int

from kdjax.errors import UserError
from kdjax.types import Source

# In the first two each example is drawn once per epoch; in "balanced" each
# class equally often; "square_root" is between them.
SAMPLINGS = ("uniform", "similar_length", "balanced", "square_root")

# Those that may draw an example several times in an epoch.
REPEATING = ("balanced", "square_root")

# The number of batches that are sorted by length together.
WINDOW = 50


def check(sampling: str, buckets: Collection[str]) -> None:
  """Raises `UserError` if a sampling is unknown or does not fit the data.

  Args:
    sampling: one of SAMPLINGS.
    buckets: the modalities with buckets.
  """
  if sampling not in SAMPLINGS:
    raise UserError(
      f"No sampling '{sampling}'.", exists=SAMPLINGS, near=sampling
    )
  if sampling == "similar_length" and not buckets:
    raise UserError(
      "The sampling 'similar_length' needs data with buckets.",
      "Add them, such as buckets={'text': (16, 32)}.",
    )


def chances(
  sampling: str, source: Source, members: Int[np.ndarray, "M"]
) -> Float[np.ndarray, "M"] | None:
  """The probability of each member of a pool; None: each is drawn once.

  Args:
    sampling: one of SAMPLINGS.
    source: the examples; its labels are read only where they matter.
    members: positions in the source.

  Raises:
    UserError: the labels are multi-label.
  """
  if sampling in ("uniform", "similar_length") or not len(members):
    return None
  labels = source.labels[members]
  if labels.ndim > 1:
    raise UserError(
      f"The sampling '{sampling}' does not support multi-label data.",
      "Expected one class per example.",
    )
  # Unlabelled examples form a class of their own.
  _, group, count = np.unique(labels, return_inverse=True, return_counts=True)
  power = 1.0 if sampling == "balanced" else 0.5
  weights = count[group].astype(np.float64) ** -power
  return weights / weights.sum()


def by_length(
  order: Int[np.ndarray, "N"],
  lengths: Int[np.ndarray, "N"],
  share: int,
  start: int,
  rng: np.random.Generator,
) -> Int[np.ndarray, "N"]:
  """Reorders an epoch into batches of examples of similar length.

  The examples of every WINDOW complete batches are stably sorted by length and
  split into batches again; then all batches are shuffled. Examples in a batch
  shared with the previous or next epoch keep their order.

  Args:
    order: the epoch as drawn.
    lengths: of the examples, indexed by the values of `order`.
    share: examples per batch.
    start: the number of examples before the epoch's first complete batch.
    rng: shuffles the batches.
  """
  count = max(len(order) - start, 0) // share
  stop = start + count * share
  inner = order[start:stop]
  window = np.arange(len(inner)) // (WINDOW * share)
  inner = inner[np.lexsort((lengths[inner], window))]
  inner = inner.reshape(count, share)[rng.permutation(count)].reshape(-1)
  return np.concatenate([order[:start], inner, order[stop:]])
