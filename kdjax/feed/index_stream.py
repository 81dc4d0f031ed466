"""Which examples a step sees: an index stream computed from (seed, step).

The streams have no state: a run that resumes at a step sees the batches of an
uninterrupted run. `loaders.py` holds the examples and gathers the batches.
"""

import functools
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Int

from kdjax.errors import UserError
from kdjax.feed import buckets as bucketing
from kdjax.feed import orders
from kdjax.feed import sampling as samplings
from kdjax.feed.gather import gathered
from kdjax.types import Source

ALL = slice(None)

# Random streams in addition to the pools of `TrainFeed`.
_PARTNERS, _BATCHES = 2**16, 2**17

# Up to this size, drawing an epoch takes longer than the steps that see it.
SMALL_EPOCH = 512

# The values of `last_batch`.
LAST_BATCH = ("joined", "short")


class TrainFeed:
  """The training examples of one seed, step by step.

  Args:
    source: the examples.
    seed: of the order.
    batch_size: over all devices.
    labelled_fraction: the fraction of labelled examples in a batch; None draws
      from all examples.
    sampling: "uniform": an epoch is a permutation. "similar_length": a
      permutation of batches of texts of similar length, see
      `sampling.by_length`. "balanced": drawn with replacement, each class
      equally often. "square_root": with replacement, each class in proportion
      to the square root of its size.
    augmentations: the number of different views of an example, used in turn,
      one per epoch; 0 means a new view in every epoch.
    partners: the keys of a partner example that a batch holds, for transforms
      that mix two examples: `partner/<key>`.
    buckets: modality -> lengths that its texts are cut to, see
      `buckets.complete`.
    last_batch: the end of an epoch that does not fill a batch: "joined" with
      the next epoch, or "short": filled up with rows that are not valid.

  Raises:
    UserError: an unknown or impossible option, or an empty pool.
  """

  def __init__(
    self,
    source: Source,
    *,
    seed: int,
    batch_size: int,
    labelled_fraction: float | None = None,
    sampling: str = "uniform",
    augmentations: int = 0,
    partners: tuple[str, ...] = (),
    buckets: Mapping[str, Sequence[int]] | None = None,
    last_batch: str = LAST_BATCH[0],
  ):
    self.source, self.seed, self.batch_size = source, seed, batch_size
    self.sampling, self.augmentations = sampling, augmentations
    self.partners = partners
    if last_batch not in LAST_BATCH:
      raise UserError(
        f"last_batch is '{last_batch}'.", exists=LAST_BATCH, near=last_batch
      )
    self.short = last_batch == "short"
    samplings.check(sampling, buckets or ())
    self.lengths = bucketing.Lengths(source, buckets or {})
    if labelled_fraction is not None and not 0 <= labelled_fraction <= 1:
      raise UserError(
        f"labelled_fraction is {labelled_fraction}.", "Expected 0 to 1."
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
          f"A batch needs {share} examples of an empty pool: "
          f"{int(source.labelled.sum())} of {len(source)} are labelled.",
          f"Change labelled_fraction={labelled_fraction}; None draws from all.",
        )
    self._chances = [
      samplings.chances(sampling, source, members) for members, _ in self.pools
    ]
    self._add_caches()

  def _add_caches(self) -> None:
    """Caches the last epochs; a batch may span two of them."""
    self._order = functools.lru_cache(maxsize=4)(self._epoch)
    self._partner = functools.lru_cache(maxsize=4)(self._pairing)

  def __getstate__(self):
    # A worker process has caches of its own.
    return {
      key: value
      for key, value in self.__dict__.items()
      if key not in ("_order", "_partner")
    }

  def __setstate__(self, state):
    self.__dict__.update(state)
    self._add_caches()

  def indices(self, step: int) -> Int[np.ndarray, "B"]:
    """The positions in the source of a step's batch; steps start at 0."""
    return self.draw(step)["position"]

  def draw(self, step: int, part: slice = ALL) -> dict[str, np.ndarray]:
    """The positions and views of a step's examples.

    Args:
      step: from 0.
      part: the rows of the batch that this process loads.

    Returns:
      position, view: int [B]; valid: bool [B]; partner: int [B], if there are
      `partners`; span/<modality>: [B bucket], the bucket of the whole batch of
      this seed, as a shape.
    """
    draw = {key: value[0] for key, value in self.draws(step, step + 1).items()}
    position = draw["position"]
    spans = self.lengths.spans(position, draw.get("partner"), self.partners)
    draw |= bucketing.marked(spans, len(position))
    return {key: value[part] for key, value in draw.items()}

  def draws(
    self, start: int, stop: int, part: slice = ALL
  ) -> dict[str, np.ndarray]:
    """`draw` of the steps start..stop-1, without buckets: [steps B]."""
    count = stop - start
    drawn = [
      [
        array.reshape(count, share)
        for array in self._draw(pool, start * share, count * share)
      ]
      for pool, (_, share) in enumerate(self.pools)
      if share
    ]
    arrays = [np.concatenate(them, axis=1) for them in zip(*drawn, strict=True)]
    whole = arrays[0]
    position, view, partner, valid = (array[:, part] for array in arrays)
    numbers = {"position": position, "view": view}
    numbers |= {"partner": partner} if self.partners else {}
    if len(self.pools) == 1 and len(self.source) < self.batch_size:
      valid = valid & orders.first(whole)[:, part]
    numbers = {key: value.astype(np.int32) for key, value in numbers.items()}
    return {**numbers, "valid": valid}

  def batch(self, step: int, part: slice = ALL) -> dict[str, np.ndarray]:
    """The batch of a step; steps start at 0."""
    return gathered(self.source, self.draw(step, part), self.partners)

  def _draw(self, pool: int, start: int, count: int):
    """Items start..start+count-1 of the endless stream of a pool."""
    members, share = self.pools[pool]
    blank = np.zeros(-len(members) % share if self.short else 0, np.int64)
    size = len(members) + len(blank)
    drawn, partners, epochs = [], [], []
    item, stop = start, start + count
    while item < stop:
      epoch, offset = divmod(item, size)
      rows = slice(offset, offset + stop - item)
      part = self._order(pool, epoch)
      part = (np.append(part, blank) if len(blank) else part)[rows]
      drawn.append(part)
      epochs.append((epoch, len(part)))
      if self.partners:
        partners.append(self._partner(pool, epoch)[part])
      item += len(part)
    view = np.repeat(*np.array(epochs).T)
    if self._chances[pool] is not None:
      # An example that repeats within an epoch has a new view each time.
      view = np.arange(start, stop)
    view = view % self.augmentations if self.augmentations else view
    valid = np.arange(start, stop) % size < len(members)
    drawn = np.concatenate(drawn)
    other = members[np.concatenate(partners) if partners else drawn]
    return members[drawn], view, other, valid

  def _epoch(self, pool: int, epoch: int) -> Int[np.ndarray, "N"]:
    members, share = self.pools[pool]
    size = len(members)
    if self._chances[pool] is not None:
      rng = np.random.default_rng([self.seed, pool, epoch])
      return rng.choice(size, size, p=self._chances[pool])
    permutation = orders.cached if size <= SMALL_EPOCH else orders.permutation
    order = permutation(self.seed, pool, epoch, size)
    if self.sampling == "similar_length":
      # The batches of all seeds are shuffled alike, so that seeds in one group
      # have their long batches at the same step.
      shuffle = np.random.default_rng([_BATCHES, pool, epoch])
      lengths, before = self.lengths.total[members], -epoch * size % share
      order = samplings.by_length(order, lengths, share, before, shuffle)
    return order

  def _pairing(self, pool: int, epoch: int) -> Int[np.ndarray, "N"]:
    """The partner of each example of a pool, the same for all seeds of a run.

    Partners come from the same pool: labelled examples have labelled partners.
    """
    view = epoch % self.augmentations if self.augmentations else epoch
    size = len(self.pools[pool][0])
    return np.random.default_rng([_PARTNERS, pool, view]).permutation(size)

  def partner_of(
    self, positions: Int[np.ndarray, "B"], view: int
  ) -> Int[np.ndarray, "B"]:
    """The positions of the partners of examples in a view."""
    partners = np.zeros_like(positions)
    for pool, (members, _) in enumerate(self.pools):
      rank = np.searchsorted(members, positions)
      inside = np.isin(positions, members)
      partners[inside] = members[self._partner(pool, view)[rank[inside]]]
    return partners


class EvalFeed:
  """All examples of a split once, in order.

  Args:
    source: the examples.
    batch_size: over all devices; rows that fill up the last batch are not
      valid.
    buckets: as in `TrainFeed`.

  Attributes:
    constants: numbers that every example has, by key.
    partners: empty; evaluation mixes no examples.
  """

  partners = ()

  def __init__(
    self,
    source: Source,
    batch_size: int,
    buckets: Mapping[str, Sequence[int]] | None = None,
  ):
    self.source, self.batch_size = source, batch_size
    self.constants: dict[str, float] = {}
    self.lengths = bucketing.Lengths(source, buckets or {})

  def __len__(self) -> int:
    """The number of batches."""
    return -(-len(self.source) // self.batch_size)

  def draw(self, step: int, part: slice = ALL) -> dict[str, np.ndarray]:
    """As in `TrainFeed`."""
    start = step * self.batch_size
    rows = np.arange(start, start + self.batch_size, dtype=np.int32)
    valid = rows < len(self.source)
    position = np.where(valid, rows, 0)
    draw = {
      "position": position,
      "view": np.zeros(len(rows), np.int32),
      "valid": valid,
      **{
        key: np.full(len(rows), value, np.float32)
        for key, value in self.constants.items()
      },
      **bucketing.marked(self.lengths.spans(position), len(rows)),
    }
    return {key: value[part] for key, value in draw.items()}

  def batch(self, step: int, part: slice = ALL) -> dict[str, np.ndarray]:
    """As in `TrainFeed`."""
    return gathered(self.source, self.draw(step, part))
