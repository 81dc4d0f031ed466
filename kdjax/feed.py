"""Batches from a source: one index stream, and a gather over it."""

import functools
from collections.abc import Iterator

import numpy as np

from kdjax.errors import UserError
from kdjax.types import Source


class TrainFeed:
  """The training batches of one seed: a position is a step, nothing else.

  Args:
    source: examples.
    seed: of the order.
    batch_size: over all devices.
    labelled_fraction: the share of labelled examples in a batch; None draws
      from all examples alike.
  """

  def __init__(
    self,
    source: Source,
    *,
    seed: int,
    batch_size: int,
    labelled_fraction: float | None = None,
  ):
    self.source, self.seed = source, seed
    if labelled_fraction is not None and not 0 <= labelled_fraction <= 1:
      raise UserError(
        f"labelled_fraction is {labelled_fraction}.", "It is a share, 0 to 1."
      )
    if labelled_fraction is None:
      self.pools = [(np.arange(len(source)), batch_size)]
    else:
      labelled = round(labelled_fraction * batch_size)
      self.pools = [
        (np.flatnonzero(source.labelled), labelled),
        (np.flatnonzero(~source.labelled), batch_size - labelled),
      ]
    for members, share in self.pools:
      if share > 0 and not len(members):
        raise UserError(
          f"A batch has {share} examples of a pool that is empty: "
          f"{int(source.labelled.sum())} of {len(source)} are labelled.",
          f"labelled_fraction is {labelled_fraction}; None takes all alike.",
        )
    # An epoch is a permutation; a batch may span the end of one.
    self._order = functools.lru_cache(maxsize=4)(self._permutation)

  def indices(self, step: int) -> np.ndarray:
    """int [B]: the positions in the source of the batch of a step from 0."""
    parts = [
      self._draw(pool, step * share, share)
      for pool, (_, share) in enumerate(self.pools)
      if share
    ]
    return np.concatenate(parts)

  def batch(self, step: int) -> dict[str, np.ndarray]:
    """The batch of a step from 0."""
    rows = self.indices(step)
    return {**self.source.take(rows), "valid": np.ones(len(rows), bool)}

  def _draw(self, pool: int, start: int, count: int) -> np.ndarray:
    """Places start .. start + count of the endless stream of a pool."""
    members, _ = self.pools[pool]
    drawn = []
    while count:
      epoch, offset = divmod(start, len(members))
      part = self._order(pool, epoch)[offset : offset + count]
      drawn.append(members[part])
      start, count = start + len(part), count - len(part)
    return np.concatenate(drawn)

  def _permutation(self, pool: int, epoch: int) -> np.ndarray:
    size = len(self.pools[pool][0])
    return np.random.default_rng([self.seed, pool, epoch]).permutation(size)


def eval_batches(
  source: Source, batch_size: int
) -> Iterator[dict[str, np.ndarray]]:
  """All examples once, in order; rows that pad the last batch are invalid."""
  for start in range(0, len(source), batch_size):
    rows = np.arange(start, start + batch_size)
    valid = rows < len(source)
    yield {**source.take(np.where(valid, rows, 0)), "valid": valid}
