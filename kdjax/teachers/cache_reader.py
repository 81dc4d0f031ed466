"""What caches have of teachers, beside the batches that it is of."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kdjax.cache import codecs, imported, outputs
from kdjax.cache.store import Reader
from kdjax.devices.placement import Placement
from kdjax.feed import loaders
from kdjax.feed.index_stream import TrainFeed
from kdjax.teachers import cache_plan
from kdjax.types import Array

# Bytes of outputs up to which they are kept in memory, or on the devices.
HELD = 2**28


def supply(
  name: str,
  readers: Sequence[Reader],
  feed: Any,
  orders: Sequence[TrainFeed],
  placement: Placement,
  *,
  rest: str,
) -> "Stored":
  """A teacher's outputs: on the devices if the examples are and there is room.

  Args:
    name: of the teacher.
    readers: a cache a seed; it may be one for all.
    feed: of the batches.
    orders: the examples of each seed.
    placement: where batches go.
    rest: what classes get that a codec left out.
  """
  every = {id(reader): reader for reader in readers}.values()
  held = isinstance(feed, loaders.Rows) and sum(map(_bytes, every)) <= HELD
  kind = Held if held else Stored
  return kind(name, readers, orders, placement, rest=rest)


def imported_by(
  name: str,
  teacher: Mapping[str, Any],
  feed: Any,
  orders: Sequence[TrainFeed],
  placement: Placement,
) -> "Stored":
  """Outputs that were made elsewhere, for the examples of each seed.

  Args:
    name: of the teacher.
    teacher: its config.
    feed: of the batches.
    orders: the examples of each seed.
    placement: where batches go.
  """
  readers = [
    imported.read(teacher["outputs"], order.source.index, order.source.labels)
    for order in orders
  ]
  return supply(name, readers, feed, orders, placement, rest=teacher["rest"])


class Stored:
  """A teacher's outputs that are read as they are needed.

  Args:
    name: of the teacher.
    readers: a cache a seed.
    orders: the examples of each seed.
    placement: where batches go.
    rest: what classes get that a codec left out.

  Attributes:
    role: of what `ready` gives, as of `Placement.compile`.
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

  def outputs(
    self, arrays: dict[str, Array], drawn: dict[str, Array]
  ) -> dict[str, Array]:
    """Stored parts as what the step is to be given.

    Args:
      arrays: what `ready` gave.
      drawn: what the feed gave of the batch.
    """
    del drawn
    found = outputs.decode(self.stored, arrays, rest=self.rest)
    return {
      cache_plan.given_name(self.name, name): array.astype(
        self.stored[name].dtype
      )
      for name, array in found.items()
    }

  def ready(self, start: int, stop: int) -> Callable:
    """Takes a batch, and gives what is stored for it, read ahead."""
    part = self.placement.part(self.orders[0].batch_size)
    takes = {id(reader): _take(reader) for reader in self.readers}
    takes = [takes[id(reader)] for reader in self.readers]
    rows = _Rows(takes, self.orders, part, start, stop)
    made = loaders.ahead(rows, 0)
    return lambda _: self.placement.put_batch(next(made))


class Held(Stored):
  """A teacher's outputs on the devices, beside examples that are there."""

  role = "rows"

  def __init__(self, *arguments, **options):
    super().__init__(*arguments, **options)
    self.views = self.readers[0].views
    known: dict[tuple[int, int], dict] = {}
    tables = []
    for reader, order in zip(self.readers, self.orders, strict=True):
      key = id(reader), id(order.source)
      if key not in known:
        rows = reader.positions(order.source.index)
        whole = reader.whole().items()
        known[key] = {part: column[:, rows] for part, column in whole}
      tables.append(known[key])
    self.rows = self.placement.put_rows(tables)

  def outputs(self, arrays, drawn):
    """As that of `Stored`."""
    at = drawn["view"] % self.views, drawn["position"]
    every = {**arrays["shared"], **arrays["own"]}
    rows = {part: column[at] for part, column in every.items()}
    return super().outputs(rows, drawn)

  def ready(self, start: int, stop: int) -> Callable:
    """Takes a batch, and gives all that is stored."""
    del start, stop
    return lambda _: self.rows


class _Rows:
  """Steps by number: for each seed what is stored of its batch."""

  def __init__(self, takes, orders, part, start, stop):
    self.takes, self.orders, self.part = takes, orders, part
    self.start, self.stop = start, stop

  def __len__(self) -> int:
    return max(self.stop - self.start, 0)

  def __getitem__(self, place: int) -> list[dict[str, Any]]:
    found = []
    for take, order in zip(self.takes, self.orders, strict=True):
      drawn = order.draw(self.start + place, self.part)
      index = order.source.index[drawn["position"]]
      found.append(take(index, drawn["view"]))
    return found


def _take(reader: Reader) -> Callable:
  """Reads rows at random: from memory, where the whole has room there."""
  if _bytes(reader) > HELD:
    return reader.take
  whole = reader.whole()

  def take(index, view):
    place = view % reader.views, reader.positions(index)
    return {part: column[place] for part, column in whole.items()}

  return take


def _bytes(reader: Reader) -> int:
  """Of all rows of all parts."""
  return codecs.bytes_per_row(reader.parts) * len(reader.index) * reader.views
