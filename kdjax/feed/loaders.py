"""How the examples of a step reach the devices: held there, or streamed.

`Rows` holds a whole split on the devices: a step is sent positions, and gathers
in its own program. `Stream` has other threads or processes (Grain) decode the
batches of the steps to come. Both gather over the same index stream, so that
their batches are the same.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np

from kdjax.devices import processes
from kdjax.devices.placement import Placement
from kdjax.errors import UserError
from kdjax.feed import decoded_splits
from kdjax.feed.buckets import together
from kdjax.feed.gather import gathered, joined
from kdjax.feed.index_stream import EvalFeed, TrainFeed
from kdjax.feed.sources import ArraySource
from kdjax.types import Batch, Source, Spec

KINDS = ("auto", "device", "stream")

# A set is held on a CPU's memory up to here, elsewhere up to this share of the
# device's.
CPU_BYTES, SHARE = 2 * 2**30, 0.25

# Examples that are decoded at once where a split is read whole.
CHUNK = 256

# Batches that are made ahead.
AHEAD = 4

# Steps whose positions are drawn at once: an epoch of few examples is over
# after some steps, and to draw is then what a step costs.
DRAWN = 64

# Bytes of an array from which a worker shares it: a shared memory of its own
# costs more than to copy a smaller one.
SHARED = 1 << 16


def make(
  data: Mapping[str, Any],
  placement: Placement,
  feeds: Sequence[TrainFeed | EvalFeed],
  spec: Spec,
) -> "Rows | Stream":
  """The feed of a split, as its config asks or its size.

  Args:
    data: of a stage's config.
    placement: where batches go.
    feeds: a `TrainFeed` a seed, or one `EvalFeed` for all.
    spec: of an example.
  """
  kind = kind_of(data["feed"], spec, len(feeds[0].source))
  if kind == "device":
    return Rows(placement, feeds)
  # Processes take seconds to start: not for each pass over a split.
  workers = 0 if isinstance(feeds[0], EvalFeed) else data["workers"]
  return Stream(placement, feeds, workers)


def kind_of(kind: str, spec: Spec, size: int) -> str:
  """ "device" or "stream": as asked, or by how large a split is.

  Args:
    kind: "auto", "device" or "stream".
    spec: of an example.
    size: how many examples there are.
  """
  if kind not in KINDS:
    raise UserError(f"No feed '{kind}'.", exists=KINDS, near=kind)
  if kind != "auto":
    return kind
  example = sum(
    np.prod(leaf.shape, dtype=np.int64) * np.dtype(leaf.dtype).itemsize
    for leaf in spec.values()
  )
  return "device" if example * size <= _room() else "stream"


def _room() -> float:
  device = jax.local_devices()[0]
  if device.platform == "cpu":
    return CPU_BYTES
  stats = device.memory_stats() or {}
  return SHARE * stats.get("bytes_limit", 4 * CPU_BYTES)


class Rows:
  """A split held on the devices.

  Args:
    placement: where.
    feeds: a `TrainFeed` a seed, or one `EvalFeed` for all, or one a seed.
  """

  def __init__(
    self, placement: Placement, feeds: Sequence[TrainFeed | EvalFeed]
  ):
    self.placement, self.feeds = placement, list(feeds)
    self.shared = isinstance(feeds[0], EvalFeed)
    self.roles = ("rows", "shared" if self.shared else "batch")
    self.partners = feeds[0].partners
    known: dict[int, dict] = {}
    for feed in feeds:
      if id(feed.source) not in known:
        known[id(feed.source)] = columns(feed.source)
    self.rows = placement.put_rows([known[id(one.source)] for one in feeds])

  def over(self, step: Callable) -> Callable:
    """A step of (.., batch) as one of (.., rows, positions)."""

    def gathering(state, fixed, rows, at):
      return step(state, fixed, _gathered(rows, at, self.partners))

    return gathering

  def batches(self, start: int, stop: int) -> Iterator[tuple[Any, Any]]:
    """What the steps from `start` up to `stop` are called with."""
    part = self.placement.part(self.feeds[0].batch_size)
    put = self.placement.put_shared if self.shared else self.placement.put_batch
    feeds = self.feeds[:1] if self.shared else self.feeds
    for first in range(start, stop, DRAWN):
      last = min(first + DRAWN, stop)
      for drawn in _drawn(feeds, first, last, part):
        yield self.rows, put(drawn[0] if self.shared else drawn)


class Stream:
  """A split decoded as it is needed, ahead of the steps.

  Args:
    placement: where batches go.
    feeds: a `TrainFeed` a seed, or one `EvalFeed` for all, or one a seed.
    workers: processes that decode; 0 is threads of this one.
  """

  def __init__(
    self,
    placement: Placement,
    feeds: Sequence[TrainFeed | EvalFeed],
    workers: int = 0,
  ):
    self.placement, self.feeds, self.workers = placement, list(feeds), workers
    self.shared = isinstance(feeds[0], EvalFeed) and len(feeds) == 1
    self.roles = ("shared" if self.shared else "batch",)

  def over(self, step: Callable) -> Callable:
    """The step, as it is."""
    return step

  def batches(self, start: int, stop: int) -> Iterator[tuple[Any]]:
    """What the steps from `start` up to `stop` are called with."""
    part = self.placement.part(self.feeds[0].batch_size)
    put = self.placement.put_shared if self.shared else self.placement.put_batch
    items = _Batches(self.feeds, part, start, stop)
    for step, made in enumerate(ahead(items, self.workers), start):
      if self.workers:
        self._note_broken(step, part, made)
      yield (put(made[0] if self.shared else made),)

  def _note_broken(self, step: int, part: slice, made) -> None:
    """What a worker met, met here too, where it is counted and listed."""
    for feed, batch in zip(self.feeds, made, strict=True):
      at = feed.draw(step, part)
      broken = at["valid"] & ~batch["valid"]
      if broken.any():
        feed.source.take(at["position"][broken])


class _Batches:
  """Steps by number: for each feed the batch of this process."""

  def __init__(self, feeds, part: slice, start: int, stop: int):
    self.feeds, self.part, self.start, self.stop = feeds, part, start, stop

  def __len__(self) -> int:
    return max(self.stop - self.start, 0)

  def __getitem__(self, place: int) -> list[dict[str, np.ndarray]]:
    step = self.start + place
    at = together([feed.draw(step, self.part) for feed in self.feeds])
    return [
      gathered(feed.source, one, feed.partners)
      for feed, one in zip(self.feeds, at, strict=True)
    ]


def ahead(items: Any, workers: int) -> Iterator[Any]:
  """Items by number, made ahead by Grain, in their order.

  Args:
    items: with `len` and `[place]`; picklable, where there are workers.
    workers: processes; 0 is threads of this one.
  """
  if not len(items):
    return
  import grain

  if workers:
    processes.check()
    from absl import flags

    # Grain's workers read flags of their own, which notebooks never parse.
    if not flags.FLAGS.is_parsed():
      flags.FLAGS.mark_as_parsed()
  dataset = grain.MapDataset.source(items)
  threads = min(AHEAD, os.cpu_count() or 1)
  reading = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=AHEAD)
  made = dataset.to_iter_dataset(reading)
  if not workers:
    yield from made
    return
  options = grain.experimental.DatasetOptions(min_shm_size=SHARED)
  made = grain.experimental.WithOptionsIterDataset(made, options)
  # Grain's shared arrays look after their memory in each view of them.
  plain = lambda leaf: (
    np.asarray(leaf) if isinstance(leaf, np.ndarray) else leaf
  )
  made = made.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers))
  # One who leaves early ends the processes.
  with contextlib.closing(iter(made)) as found:
    for one in found:
      yield jax.tree.map(plain, one)


def columns(source: Source) -> dict[str, np.ndarray]:
  """A whole split as arrays, decoded by several threads, or before."""
  if isinstance(source, ArraySource):
    return dict(source.columns)
  kept = decoded_splits.find(source)
  if kept is not None:
    return kept
  starts = range(0, len(source), CHUNK)
  take = lambda start: source.take(
    np.arange(start, min(start + CHUNK, len(source)))
  )
  with ThreadPoolExecutor(os.cpu_count()) as pool:
    chunks = list(pool.map(take, starts))
  found = {
    key: np.concatenate([chunk[key] for chunk in chunks]) for key in chunks[0]
  }
  decoded_splits.keep(source, found, CPU_BYTES)
  return found


def _drawn(feeds, start: int, stop: int, part: slice) -> Iterator[Any]:
  """What feeds draw for the steps from `start` up to `stop`.

  Yields:
    A batch of each; or all in one, [S B], where nothing is cut to buckets.
  """
  if not isinstance(feeds[0], TrainFeed) or feeds[0].lengths.buckets:
    for step in range(start, stop):
      yield together([feed.draw(step, part) for feed in feeds])
    return
  # Those of a seed that is there several times are the same.
  known = {id(feed): feed for feed in feeds}
  own = {at: feed.draws(start, stop, part) for at, feed in known.items()}
  whole = {
    key: np.stack([own[id(feed)][key] for feed in feeds], axis=1)
    for key in own[id(feeds[0])]
  }
  for place in range(stop - start):
    yield {key: value[place] for key, value in whole.items()}


def _gathered(rows: Mapping, at: Batch, partners: tuple[str, ...]) -> Batch:
  """The examples that were drawn, from rows of the device."""
  every = {**rows["shared"], **rows["own"]}
  take = lambda keys, place: {key: every[key][at[place]] for key in keys}
  asked = {*partners, "valid"} & every.keys() if partners else ()
  others = take(sorted(asked), "partner")
  return joined(take(every, "position"), at, others, partners)
