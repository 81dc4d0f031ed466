"""A cache made, and made again in part: the teacher over all examples."""

import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from kdjax.cache import codecs, outputs
from kdjax.cache.manifest import Output
from kdjax.cache.store import Writer
from kdjax.devices.placement import Placement
from kdjax.errors import UserError
from kdjax.feed import loaders
from kdjax.feed.gather import gathered
from kdjax.feed.index_stream import ALL, TrainFeed
from kdjax.stage.stage import Stage
from kdjax.teachers import programs
from kdjax.teachers.cache_plan import Plan, read, stored_name

# Examples of one file of a cache, about.
CHUNK = 4096

# Of a value's size, what a stored output may be off when it is made again.
TOLERANCE = 1e-4


def make(
  stage: Stage,
  made: Plan,
  *,
  part: tuple[int, int] = (0, 1),
  said: Callable[[str], None] = lambda text: None,
  outputs_of: Callable | None = None,
) -> None:
  """Runs the teacher over all examples in all views, and stores what it gives.

  One that was cut off goes on where it stopped.

  Args:
    stage: whose terms read the teacher.
    made: the cache.
    part: (i, n): the chunks of the i-th of n makers.
    said: told of progress.
    outputs_of: the teacher, by `program`; None compiles it.
  """
  order = Pass(made.order, made.manifest.augmentations)
  batches = max(CHUNK // order.batch_size, 1)
  writer = Writer(
    made.path,
    made.manifest,
    outputs.parts(made.manifest.outputs),
    made.order.source.index,
    made.manifest.augmentations,
    chunk_rows=batches * order.batch_size,
  )
  todo = writer.host_part(*part)
  if todo and outputs_of is None:
    outputs_of = program(stage, made)
  for count, (view, chunk) in enumerate(todo, 1):
    first = view * order.length + chunk * batches
    last = min(first + batches, (view + 1) * order.length)
    rows = list(outputs_of(first, last))
    whole = {key: np.concatenate([one[key] for one in rows]) for key in rows[0]}
    stored = outputs.encode(made.manifest.outputs, whole)
    writer.write(view, chunk, stored)
    said(f"{count} of {len(todo)} chunks")
    if count == 1:
      for line in _losses(made.manifest.outputs, whole, stored):
        said(line)
  if part == (0, 1):
    writer.finish()


def verify(
  stage: Stage,
  made: Plan,
  *,
  batches: int = 8,
  said: Callable[[str], None] = lambda text: None,
) -> None:
  """Runs the teacher again on some batches, and compares.

  Raises:
    UserError: what is stored is not what it says.
  """
  reader = read(made)
  order = Pass(made.order, made.manifest.augmentations)
  outputs_of = program(stage, made)
  total = made.manifest.augmentations * order.length
  steps = np.random.default_rng(0).permutation(total)[:batches]
  stored_as = made.manifest.outputs
  for step in np.sort(steps).tolist():
    (found,) = outputs_of(step, step + 1)
    drawn = order.draw(step, slice(order.valid(step)))
    index = made.order.source.index[drawn["position"]]
    stored = outputs.decode(stored_as, reader.take(index, drawn["view"]))
    again = outputs.decode(stored_as, outputs.encode(stored_as, found))
    for key in stored_as:
      off = np.abs(np.asarray(stored[key]) - np.asarray(again[key]))
      scale = max(np.abs(found[key]).max(), 1.0)
      if not off.max() <= TOLERANCE * scale:
        raise UserError(
          f"In {made.path}, '{key}' of view {drawn['view'][0]} is up to"
          f" {off.max():.3g} off what the teacher says now.",
          "Remove the cache and make it anew.",
        )
  said(f"{len(steps)} of {total} batches are as the teacher says")


class Pass:
  """All examples of a training feed, in order, in each of their views.

  Args:
    feed: of training.
    views: how many each example has.
  """

  def __init__(self, feed: TrainFeed, views: int):
    self.source, self.batch_size = feed.source, feed.batch_size
    self.feed, self.views, self.partners = feed, views, feed.partners
    self.length = math.ceil(len(feed.source) / feed.batch_size)

  def valid(self, step: int) -> int:
    """How many examples the batch of a step has."""
    start = step % self.length * self.batch_size
    return min(len(self.source) - start, self.batch_size)

  def draw(self, step: int, part: slice = ALL) -> dict[str, np.ndarray]:
    """As that of `TrainFeed`."""
    view, place = divmod(step, self.length)
    rows = place * self.batch_size + np.arange(self.batch_size, dtype=np.int32)
    valid = rows < len(self.source)
    rows = np.where(valid, rows, 0)
    drawn = {"position": rows, "view": np.full_like(rows, view)}
    drawn["valid"] = np.ones_like(valid)
    if self.partners:
      drawn["partner"] = self.feed.partner_of(rows, view)
    return {key: array[part] for key, array in drawn.items()}

  def batch(self, step: int, part: slice = ALL) -> dict[str, np.ndarray]:
    """As that of `TrainFeed`."""
    return gathered(self.source, self.draw(step, part), self.partners)


def program(stage: Stage, made: Plan) -> Callable:
  """The teacher, compiled: steps first .. last of a pass -> rows of outputs.

  Args:
    stage: whose terms read it.
    made: the cache.
  """
  order = Pass(made.order, made.manifest.augmentations)
  data = stage.config["data"]
  kind = "pmap" if stage.objective.axis_name else "mesh"
  placement = Placement(kind, 1, "loop", {made.teacher: False})
  feed = loaders.make(data, placement, [order], stage.spec)
  teach = programs.program(stage, made.teacher)
  taught = placement.compile(feed.over(teach), ("state", "fixed", *feed.roles))
  fixed = placement.put_fixed([made.fixed])

  def run(first: int, last: int) -> Iterator[dict[str, np.ndarray]]:
    for step, batch in enumerate(feed.batches(first, last), first):
      given = taught([()], fixed, *batch)[0]
      yield {
        stored_name(key): placement.rows(leaf)[: order.valid(step)]
        for key, leaf in given.items()
      }

  return run


def _losses(
  stored_as: Mapping[str, Output],
  whole: Mapping[str, np.ndarray],
  stored: Mapping[str, np.ndarray],
) -> Iterator[str]:
  """How far what is stored is from what it was, where it is not exact."""
  decoded = outputs.decode(stored_as, stored)
  for key, one in stored_as.items():
    if one.codec == "float32":
      continue
    error = codecs.error(whole[key], np.asarray(decoded[key]))
    # Rows of numbers are taken for logits.
    kl = f"KL {error.kl:.2g} nats, " if len(one.shape) == 1 else ""
    yield f"{key} as {one.codec}: {kl}at most {error.difference:.2g} off"
