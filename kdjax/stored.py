"""What caches have of teachers, beside the batches that it is of."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kdjax import caching, feeds, imported
from kdjax.cache import codecs, outputs
from kdjax.cache.store import Reader
from kdjax.devices import Placement
from kdjax.feed import TrainFeed
from kdjax.types import Array

# Bytes of outputs up to which they are kept in memory.
HELD = 2**28


def imported_by(
  name: str,
  teacher: Mapping[str, Any],
  orders: Sequence[TrainFeed],
  placement: Placement,
) -> "Stored":
  """Outputs that were made elsewhere, for the examples of each seed.

  Args:
    name: of the teacher.
    teacher: its config.
    orders: the examples of each seed.
    placement: where batches go.
  """
  readers = [
    imported.read(teacher["outputs"], order.source.index, order.source.labels)
    for order in orders
  ]
  return Stored(name, readers, orders, placement, rest=teacher["rest"])


class Stored:
  """A teacher's outputs in a cache, of every seed its own or one for all.

  Args:
    name: of the teacher.
    readers: a cache a seed.
    orders: the examples of each seed.
    placement: where batches go.
    rest: what classes get that a codec left out.
  """

  def __init__(
    self,
    name: str,
    readers: Sequence[Reader],
    orders: Sequence[TrainFeed],
    placement: Placement,
    *,
    rest: str,
  ):
    self.name, self.orders = name, orders
    self.placement, self.rest = placement, rest
    self.stored = readers[0].manifest.outputs
    takes = {id(reader): _take(reader) for reader in readers}
    self.takes = [takes[id(reader)] for reader in readers]

  def outputs(self, arrays: dict[str, Array]) -> dict[str, Array]:
    """Stored parts as what the step is to be given."""
    found = outputs.decode(self.stored, arrays, rest=self.rest)
    return {
      caching.given_name(self.name, name): array.astype(self.stored[name].dtype)
      for name, array in found.items()
    }

  def ready(self, start: int, stop: int) -> Callable:
    """Takes a batch, and gives what is stored for it, read ahead."""
    part = self.placement.part(self.orders[0].batch_size)
    rows = _Rows(self.takes, self.orders, part, start, stop)
    made = feeds.ahead(rows, 0)
    return lambda _: self.placement.put_batch(next(made))


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
  held = codecs.bytes_per_row(reader.parts) * len(reader.index) * reader.views
  if held > HELD:
    return reader.take
  whole = reader.whole()

  def take(index, view):
    place = view % reader.views, reader.positions(index)
    return {part: column[place] for part, column in whole.items()}

  return take
