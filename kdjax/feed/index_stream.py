"""Which examples a step sees: one index stream, and a gather over it.

A position is a step, and nothing else is remembered: a run that goes on sees
the batches it would have seen. What holds the examples, and where the gather is
made, is in `feeds.py`.
"""

import functools
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Int

from kdjax.errors import UserError
from kdjax.feed import buckets as bucketing
from kdjax.feed import sampling as samplings
from kdjax.feed.gather import gathered
from kdjax.types import Source

ALL = slice(None)

# Streams of draws, apart from the pools of `TrainFeed`.
_PARTNERS, _BATCHES = 2**16, 2**17

# An order of so few examples takes longer to draw than the step that sees them.
FEW = 512

# What an epoch's last batch may be.
LAST_BATCH = ("joined", "short")


class TrainFeed:
  """The training examples of one seed, step by step.

  Args:
    source: examples.
    seed: of the order.
    batch_size: over all devices.
    labelled_fraction: the share of labelled examples in a batch; None draws
      from all examples alike.
    sampling: "uniform": an epoch is a permutation. "similar_length": likewise,
      whose batches hold texts of similar length, see `sampling.alike`.
      "balanced": drawn with replacement, each class as often as another.
      "square_root": by the square root of how many a class has.
    augmentations: how many different views an example has, one an epoch in
      turn; 0 is another in each.
    partners: keys of which a batch has another example's too, for what mixes
      two: `partner/<key>`.
    buckets: modality -> the lengths that its texts are cut to, see
      `buckets.complete`.
    last_batch: of an epoch that no number of batches makes up: "joined" to the
      next epoch, or "short": rows that are not valid fill it up.
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
        f"No last batch '{last_batch}'.", exists=LAST_BATCH, near=last_batch
      )
    self.short = last_batch == "short"
    samplings.check(sampling, buckets or ())
    self.lengths = bucketing.Lengths(source, buckets or {})
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
    self._chances = [
      samplings.chances(sampling, source, members) for members, _ in self.pools
    ]
    self._remember()

  def _remember(self) -> None:
    """An epoch is drawn once; a batch may span the end of one."""
    self._order = functools.lru_cache(maxsize=4)(self._epoch)
    self._partner = functools.lru_cache(maxsize=4)(self._pairing)

  def __getstate__(self):
    # A worker process draws for itself.
    return {
      key: value
      for key, value in self.__dict__.items()
      if key not in ("_order", "_partner")
    }

  def __setstate__(self, state):
    self.__dict__.update(state)
    self._remember()

  def indices(self, step: int) -> Int[np.ndarray, "B"]:
    """The positions in the source of the batch of a step from 0."""
    return self.draw(step)["position"]

  def draw(self, step: int, part: slice = ALL) -> dict[str, np.ndarray]:
    """Where the examples of a step lie, and in which view.

    Args:
      step: from 0.
      part: of the batch, that of this process.

    Returns:
      position, view: int [B]; valid: bool [B]; partner: int [B], where asked;
      span/<modality>: [B bucket], by whose shape texts are cut. The bucket is
      that of the whole batch, and of no other seed's.
    """
    found = {key: value[0] for key, value in self.draws(step, step + 1).items()}
    position = found["position"]
    spans = self.lengths.spans(position, found.get("partner"), self.partners)
    found |= bucketing.marked(spans, len(position))
    return {key: value[part] for key, value in found.items()}

  def draws(
    self, start: int, stop: int, part: slice = ALL
  ) -> dict[str, np.ndarray]:
    """`draw` of the steps from `start` up to `stop`, but for buckets: [n B]."""
    count = stop - start
    drawn = [
      [
        found.reshape(count, share)
        for found in self._draw(pool, start * share, count * share)
      ]
      for pool, (_, share) in enumerate(self.pools)
      if share
    ]
    position, view, partner, valid = (
      np.concatenate(found, axis=1)[:, part]
      for found in zip(*drawn, strict=True)
    )
    found = {"position": position, "view": view}
    found |= {"partner": partner} if self.partners else {}
    found = {key: value.astype(np.int32) for key, value in found.items()}
    return {**found, "valid": valid}

  def batch(self, step: int, part: slice = ALL) -> dict[str, np.ndarray]:
    """The examples of a step from 0."""
    return gathered(self.source, self.draw(step, part), self.partners)

  def _draw(self, pool: int, start: int, count: int):
    """Places start .. start + count of the endless stream of a pool."""
    members, share = self.pools[pool]
    blank = np.zeros(-len(members) % share if self.short else 0, np.int64)
    size = len(members) + len(blank)
    drawn, partners, epochs = [], [], []
    place, stop = start, start + count
    while place < stop:
      epoch, offset = divmod(place, size)
      rows = slice(offset, offset + stop - place)
      part = self._order(pool, epoch)
      part = (np.append(part, blank) if len(blank) else part)[rows]
      drawn.append(part)
      epochs.append((epoch, len(part)))
      if self.partners:
        partners.append(self._partner(pool, epoch)[part])
      place += len(part)
    view = np.repeat(*np.array(epochs).T)
    if self._chances[pool] is not None:
      # One that comes often in an epoch looks another way each time.
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
    permuted = _kept if size <= FEW else _permuted
    order = permuted(self.seed, pool, epoch, size)
    if self.sampling == "similar_length":
      # Seeds that go together have their long batches at the same step: the
      # batches are shuffled in the same way for all seeds.
      shuffle = np.random.default_rng([_BATCHES, pool, epoch])
      lengths, before = self.lengths.total[members], -epoch * size % share
      order = samplings.alike(order, lengths, share, before, shuffle)
    return order

  def _pairing(self, pool: int, epoch: int) -> Int[np.ndarray, "N"]:
    """Whom each of a pool is mixed with: the same for all seeds of a run.

    Of its own pool, so that who has a label is mixed with who has one.
    """
    view = epoch % self.augmentations if self.augmentations else epoch
    size = len(self.pools[pool][0])
    return np.random.default_rng([_PARTNERS, pool, view]).permutation(size)

  def partner_of(
    self, positions: Int[np.ndarray, "B"], view: int
  ) -> Int[np.ndarray, "B"]:
    """Whom the examples at some positions are mixed with in a view."""
    found = np.zeros_like(positions)
    for pool, (members, _) in enumerate(self.pools):
      rank = np.searchsorted(members, positions)
      here = np.isin(positions, members)
      found[here] = members[self._partner(pool, view)[rank[here]]]
    return found


class EvalFeed:
  """All examples of a split once, in order.

  Args:
    source: examples.
    batch_size: over all devices; rows that fill up the last are not valid.
    buckets: as of `TrainFeed`.

  Attributes:
    constants: numbers that every example has, by key.
    partners: none.
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
    """How many batches there are."""
    return -(-len(self.source) // self.batch_size)

  def draw(self, step: int, part: slice = ALL) -> dict[str, np.ndarray]:
    """As that of `TrainFeed`."""
    start = step * self.batch_size
    rows = np.arange(start, start + self.batch_size, dtype=np.int32)
    valid = rows < len(self.source)
    position = np.where(valid, rows, 0)
    found = {
      "position": position,
      "view": np.zeros(len(rows), np.int32),
      "valid": valid,
      **{
        key: np.full(len(rows), value, np.float32)
        for key, value in self.constants.items()
      },
      **bucketing.marked(self.lengths.spans(position), len(rows)),
    }
    return {key: value[part] for key, value in found.items()}

  def batch(self, step: int, part: slice = ALL) -> dict[str, np.ndarray]:
    """As that of `TrainFeed`."""
    return gathered(self.source, self.draw(step, part))


def _permuted(seed: int, pool: int, epoch: int, size: int) -> np.ndarray:
  """The order of a seed's epoch."""
  return np.random.default_rng([seed, pool, epoch]).permutation(size)


@functools.lru_cache(maxsize=2**17)
def _kept(seed: int, pool: int, epoch: int, size: int) -> np.ndarray:
  """The same, as its next stages will ask for it again."""
  return _permuted(seed, pool, epoch, size).astype(np.uint16)
