"""Cached teacher outputs, read for the batches of a run."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kdjax.cache import codecs, imported, outputs, pca
from kdjax.cache.store import Reader
from kdjax.devices.placement import Placement
from kdjax.errors import UserError
from kdjax.feed import loaders
from kdjax.feed.gather import of_one_size
from kdjax.feed.index_stream import TrainFeed
from kdjax.teachers import cache_plan
from kdjax.types import Array

# Outputs of up to so many bytes are kept in memory, or on the devices.
MEMORY_BYTES = 2**28


def cached_outputs(
  name: str,
  readers: Sequence[Reader],
  feed: Any,
  orders: Sequence[TrainFeed],
  placement: Placement,
  *,
  rest: str,
) -> "CachedOutputs":
  """A teacher's cached outputs, on the devices where they and the data fit.

  Args:
    name: of the teacher.
    readers: the cache of each seed; seeds may share one.
    feed: of the batches.
    orders: the training examples of each seed, in order.
    placement: of the batches.
    rest: what top<k> gives the other classes.
  """
  distinct = {id(reader): reader for reader in readers}.values()
  on_device = (
    isinstance(feed, loaders.Rows)
    and sum(map(_bytes, distinct)) <= MEMORY_BYTES
  )
  cls = CachedOutputsOnDevice if on_device else CachedOutputs
  return cls(name, readers, orders, placement, rest=rest)


def imported_outputs(
  name: str,
  teacher: Mapping[str, Any],
  feed: Any,
  orders: Sequence[TrainFeed],
  placement: Placement,
) -> "CachedOutputs":
  """Imported outputs for the examples of each seed.

  Args:
    name: of the teacher.
    teacher: its config.
    feed: of the batches.
    orders: the training examples of each seed, in order.
    placement: of the batches.
  """
  readers = [
    imported.open_for(
      teacher["outputs"], order.source.index, order.source.labels
    )
    for order in orders
  ]
  return cached_outputs(
    name, readers, feed, orders, placement, rest=teacher["rest"]
  )


class CachedOutputs:
  """A teacher's cached outputs, read from disk or memory for each batch.

  Args:
    name: of the teacher.
    readers: the cache of each seed.
    orders: the training examples of each seed, in order.
    placement: of the batches.
    rest: what top<k> gives the other classes.

  Attributes:
    role: role of the loaded arrays in `Placement.compile`.
  """

  role = "batch"

  def __init__(
    self,
    name: str,
    readers: Sequence[Reader],
    orders: Sequence[TrainFeed],
    placement: Placement,
    *,
    rest: str,
  ):
    self.name, self.readers, self.orders = name, readers, orders
    self.placement, self.rest = placement, rest
    self.stored = readers[0].manifest.outputs
    self.bases = _bases(name, readers)

  def decode(
    self, arrays: dict[str, Array], drawn: dict[str, Array]
  ) -> dict[str, Array]:
    """The arrays for the step.

    Args:
      arrays: stored parts, as from `for_steps`.
      drawn: positions and views of the batch's examples.
    """
    del drawn
    decoded = outputs.decode(self.stored, arrays, self.bases, rest=self.rest)
    return {
      cache_plan.batch_key(self.name, output): array.astype(
        self.stored[output].dtype
      )
      for output, array in decoded.items()
    }

  def for_steps(self, start: int, stop: int) -> Callable:
    """A function from the batches of some steps, in order, to stored parts."""
    part = self.placement.part(self.orders[0].batch_size)
    takes = {id(reader): _row_reader(reader) for reader in self.readers}
    takes = [takes[id(reader)] for reader in self.readers]
    rows = _RowsOfSteps(takes, self.orders, part, start, stop)
    prefetched = loaders.ahead(rows, 0)
    return lambda _: self.placement.put_batch(next(prefetched))


class CachedOutputsOnDevice(CachedOutputs):
  """A teacher's cached outputs, held on the devices like the examples."""

  role = "rows"

  def __init__(self, *arguments, **options):
    super().__init__(*arguments, **options)
    self.views = self.readers[0].views
    known: dict[tuple[int, int], dict] = {}
    keys = []
    for reader, order in zip(self.readers, self.orders, strict=True):
      keys.append((id(reader), id(order.source)))
      if keys[-1] not in known:
        rows = reader.positions(order.source.index)
        columns = reader.read_all().items()
        known[keys[-1]] = {part: column[:, rows] for part, column in columns}
    known = of_one_size(known, axis=1)
    self.rows = self.placement.put_rows([known[key] for key in keys])

  def decode(self, arrays, drawn):
    """See `CachedOutputs`."""
    at = drawn["view"] % self.views, drawn["position"]
    columns = {**arrays["shared"], **arrays["own"]}
    rows = {part: column[at] for part, column in columns.items()}
    return super().decode(rows, drawn)

  def for_steps(self, start: int, stop: int) -> Callable:
    """A function from a batch to all stored rows."""
    del start, stop
    return lambda _: self.rows


class _RowsOfSteps:
  """Steps by number: the stored rows of each seed's batch."""

  def __init__(self, takes, orders, part, start, stop):
    self.takes, self.orders, self.part = takes, orders, part
    self.start, self.stop = start, stop

  def __len__(self) -> int:
    return max(self.stop - self.start, 0)

  def __getitem__(self, number: int) -> list[dict[str, Any]]:
    rows = []
    for take, order in zip(self.takes, self.orders, strict=True):
      drawn = order.draw(self.start + number, self.part)
      index = order.source.index[drawn["position"]]
      rows.append(take(index, drawn["view"]))
    return rows


def _row_reader(reader: Reader) -> Callable:
  """A function (index, view) -> rows; a small cache is read into memory."""
  if _bytes(reader) > MEMORY_BYTES:
    return reader.take
  columns = reader.read_all()

  def take(index, view):
    at = view % reader.views, reader.positions(index)
    return {part: column[at] for part, column in columns.items()}

  return take


def _bases(name: str, readers: Sequence[Reader]) -> dict[str, pca.Basis]:
  """The bases of a teacher's outputs that are stored as pca<k>.

  Raises:
    UserError: seeds have caches of their own, and so bases of their own.
  """
  stored = readers[0].manifest.outputs
  if (
    pca.of_outputs(stored)
    and len({reader.layout.path for reader in readers}) > 1
  ):
    raise UserError(
      f"The teacher '{name}' has a cache for each seed, and its `store` has a"
      " basis for each cache.",
      "Use pca<k> with one teacher for all seeds, paired=False, or another"
      " `store`.",
    )
  return pca.all_of(readers[0].layout, stored)


def _bytes(reader: Reader) -> int:
  """The size of all rows of all parts."""
  return codecs.bytes_per_row(reader.parts) * len(reader.index) * reader.views
