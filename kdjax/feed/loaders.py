"""How the examples of a step reach the devices: held there, or streamed.

`Rows` holds a whole split on the devices: a step receives positions and gathers
the examples in its own program. `Stream` decodes the batches of coming steps in
threads or processes, with Grain. Both read the same index stream, so that their
batches are equal.
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
from kdjax.feed.buckets import aligned
from kdjax.feed.gather import gathered, joined, of_one_size
from kdjax.feed.index_stream import EvalFeed, TrainFeed
from kdjax.feed.sources import ArraySource
from kdjax.types import Batch, Source, Spec

KINDS = ("auto", "device", "stream")

# The largest split that "auto" holds: bytes on a CPU, or a fraction of an
# accelerator's memory.
CPU_BYTES, SHARE = 2 * 2**30, 0.25

# Examples per task where a whole split is decoded.
CHUNK = 256

# Batches that are prefetched.
AHEAD = 4

# Steps whose positions are drawn together, to lower the cost per step.
DRAWN = 64

# Bytes of an array from which a worker passes it in shared memory; to copy a
# smaller array is faster.
SHARED = 1 << 16


def make(
  data: Mapping[str, Any],
  placement: Placement,
  feeds: Sequence[TrainFeed | EvalFeed],
  spec: Spec,
) -> "Rows | Stream":
  """The feed of a split, of the kind that its config or its size requires.

  Args:
    data: the data config of a stage.
    placement: of the batches.
    feeds: one `TrainFeed` per seed, or one `EvalFeed` for all seeds.
    spec: of an example.
  """
  kind = kind_of(data["feed"], spec, len(feeds[0].source))
  if kind == "device":
    return Rows(placement, feeds)
  # Processes take seconds to start, too long for a single pass over a split.
  workers = 0 if isinstance(feeds[0], EvalFeed) else data["workers"]
  return Stream(placement, feeds, workers)


def kind_of(kind: str, spec: Spec, size: int) -> str:
  """ "device" or "stream": the configured kind, or for "auto" by size.

  Args:
    kind: "auto", "device" or "stream".
    spec: of an example.
    size: the number of examples.

  Raises:
    UserError: an unknown kind.
  """
  if kind not in KINDS:
    raise UserError(f"data.feed is '{kind}'.", exists=KINDS, near=kind)
  if kind != "auto":
    return kind
  example = sum(
    np.prod(leaf.shape, dtype=np.int64) * np.dtype(leaf.dtype).itemsize
    for leaf in spec.values()
  )
  return "device" if example * size <= _capacity() else "stream"


def _capacity() -> float:
  """Bytes that "auto" may hold on a device."""
  device = jax.local_devices()[0]
  if device.platform == "cpu":
    return CPU_BYTES
  stats = device.memory_stats() or {}
  return SHARE * stats.get("bytes_limit", 4 * CPU_BYTES)


class Rows:
  """A split held on the devices.

  Args:
    placement: of the split and its positions.
    feeds: one `TrainFeed` per seed, one `EvalFeed` for all or one per seed.
  """

  def __init__(
    self, placement: Placement, feeds: Sequence[TrainFeed | EvalFeed]
  ):
    self.placement, self.feeds = placement, list(feeds)
    self.shared = isinstance(feeds[0], EvalFeed) and len(feeds) == 1
    self.roles = ("rows", "shared" if self.shared else "batch")
    self.partners = feeds[0].partners
    tables: dict[int, dict] = {}
    for feed in feeds:
      if id(feed.source) not in tables:
        tables[id(feed.source)] = columns(feed.source)
    tables = of_one_size(tables)
    self.rows = placement.put_rows([tables[id(feed.source)] for feed in feeds])

  def over(self, step: Callable) -> Callable:
    """The step with (rows, draw) as arguments in place of a batch."""

    def gathering(state, fixed, rows, draw):
      return step(state, fixed, _gathered(rows, draw, self.partners))

    return gathering

  def batches(self, start: int, stop: int) -> Iterator[tuple[Any, Any]]:
    """The arguments (rows, draw) of the steps start..stop-1."""
    part = self.placement.part(self.feeds[0].batch_size)
    put = self.placement.put_shared if self.shared else self.placement.put_batch
    feeds = self.feeds[:1] if self.shared else self.feeds
    for first in range(start, stop, DRAWN):
      last = min(first + DRAWN, stop)
      for draws in _drawn(feeds, first, last, part):
        yield self.rows, put(draws[0] if self.shared else draws)


class Stream:
  """A split decoded on demand, ahead of the steps.

  Args:
    placement: of the batches.
    feeds: one `TrainFeed` per seed, one `EvalFeed` for all or one per seed.
    workers: number of decoding processes; 0 decodes in threads.
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
    """The step, unchanged."""
    return step

  def batches(self, start: int, stop: int) -> Iterator[tuple[Any]]:
    """The argument (batch,) of the steps start..stop-1."""
    part = self.placement.part(self.feeds[0].batch_size)
    put = self.placement.put_shared if self.shared else self.placement.put_batch
    items = _Batches(self.feeds, part, start, stop)
    for step, batches in enumerate(ahead(items, self.workers), start):
      if self.workers:
        self._note_broken(step, part, batches)
      yield (put(batches[0] if self.shared else batches),)

  def _note_broken(self, step: int, part: slice, batches) -> None:
    """Reads the records that a worker found broken, to count and list them."""
    for feed, batch in zip(self.feeds, batches, strict=True):
      draw = feed.draw(step, part)
      broken = draw["valid"] & ~batch["valid"]
      if broken.any():
        feed.source.take(draw["position"][broken])


class _Batches:
  """A sequence over steps: for each feed the batch of this process."""

  def __init__(self, feeds, part: slice, start: int, stop: int):
    self.feeds, self.part, self.start, self.stop = feeds, part, start, stop

  def __setstate__(self, state: dict[str, Any]) -> None:
    self.__dict__.update(state)
    processes.end_with_parent()

  def __len__(self) -> int:
    return max(self.stop - self.start, 0)

  def __getitem__(self, number: int) -> list[dict[str, np.ndarray]]:
    step = self.start + number
    draws = aligned([feed.draw(step, self.part) for feed in self.feeds])
    return [
      gathered(feed.source, draw, feed.partners)
      for feed, draw in zip(self.feeds, draws, strict=True)
    ]


def ahead(items: Any, workers: int) -> Iterator[Any]:
  """The items of a sequence in order, prefetched by Grain.

  Args:
    items: has `len` and `[number]`; picklable if there are workers.
    workers: number of processes; 0 uses threads.
  """
  if not len(items):
    return
  import grain

  if workers:
    processes.check()
    from absl import flags

    # Grain's workers read absl flags, which notebooks do not parse.
    if not flags.FLAGS.is_parsed():
      flags.FLAGS.mark_as_parsed()
  dataset = grain.MapDataset.source(items)
  threads = min(AHEAD, os.cpu_count() or 1)
  reading = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=AHEAD)
  prefetched = dataset.to_iter_dataset(reading)
  if not workers:
    yield from prefetched
    return
  options = grain.experimental.DatasetOptions(min_shm_size=SHARED)
  prefetched = grain.experimental.WithOptionsIterDataset(prefetched, options)
  # Grain's shared-memory arrays track their memory in every view of them.
  plain = lambda leaf: (
    np.asarray(leaf) if isinstance(leaf, np.ndarray) else leaf
  )
  prefetched = prefetched.mp_prefetch(
    grain.MultiprocessingOptions(num_workers=workers)
  )
  # Ends the processes if the caller stops early.
  with contextlib.closing(iter(prefetched)) as iterator:
    for item in iterator:
      yield jax.tree.map(plain, item)


def columns(source: Source) -> dict[str, np.ndarray]:
  """A whole split as arrays: cached, or decoded in threads."""
  if isinstance(source, ArraySource):
    return dict(source.columns)
  cached = decoded_splits.get(source)
  if cached is not None:
    return cached
  starts = range(0, len(source), CHUNK)
  take = lambda start: source.take(
    np.arange(start, min(start + CHUNK, len(source)))
  )
  with ThreadPoolExecutor(os.cpu_count()) as pool:
    chunks = list(pool.map(take, starts))
  decoded = {
    key: np.concatenate([chunk[key] for chunk in chunks]) for key in chunks[0]
  }
  decoded_splits.put(source, decoded, CPU_BYTES)
  return decoded


def _drawn(feeds, start: int, stop: int, part: slice) -> Iterator[Any]:
  """The draws of the steps start..stop-1.

  Yields:
    For each step a list of one draw per feed; or, without buckets, one draw
    of arrays [S B].
  """
  if not isinstance(feeds[0], TrainFeed) or feeds[0].lengths.buckets:
    for step in range(start, stop):
      yield aligned([feed.draw(step, part) for feed in feeds])
    return
  # The feed of a seed may appear several times, and is drawn once.
  unique = {id(feed): feed for feed in feeds}
  draws = {key: feed.draws(start, stop, part) for key, feed in unique.items()}
  stacked = {
    key: np.stack([draws[id(feed)][key] for feed in feeds], axis=1)
    for key in draws[id(feeds[0])]
  }
  for number in range(stop - start):
    yield {key: value[number] for key, value in stacked.items()}


def _gathered(rows: Mapping, draw: Batch, partners: tuple[str, ...]) -> Batch:
  """The batch of a draw, from rows on the device."""
  arrays = {**rows["shared"], **rows["own"]}
  take = lambda keys, kind: {key: arrays[key][draw[kind]] for key in keys}
  needed = {*partners, "valid"} & arrays.keys() if partners else ()
  others = take(sorted(needed), "partner")
  return joined(take(arrays, "position"), draw, others, partners)
