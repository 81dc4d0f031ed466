"""Makes caches: runs a teacher over all examples. Verifies caches."""

import math
import time
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from kdjax.cache import codecs, outputs, pca
from kdjax.cache.manifest import Output
from kdjax.cache.store import Writer
from kdjax.config import progress, terminal
from kdjax.devices.placement import Placement
from kdjax.errors import UserError
from kdjax.feed import loaders
from kdjax.feed.gather import gathered
from kdjax.feed.index_stream import ALL, TrainFeed
from kdjax.stage.stage import Stage
from kdjax.teachers import programs
from kdjax.teachers.cache_plan import Plan, open_cache, stored_name

# The approximate number of examples in a chunk.
CHUNK = 4096

# A basis of pca<k> is fitted to the outputs of at most so many batches.
FITTED = 64

# The allowed error of a stored output, relative to its size, when the teacher
# runs again.
TOLERANCE = 1e-4


def write(
  stage: Stage,
  plan: Plan,
  *,
  part: tuple[int, int] = (0, 1),
  log: Callable[[str], None] = lambda line: None,
  run_teacher: Callable | None = None,
) -> None:
  """Runs a teacher over all examples and views, and stores its outputs.

  An unfinished cache is continued.

  Args:
    stage: its terms read the teacher.
    plan: of the cache.
    part: (i, n): only the chunks of the i-th of n processes.
    log: called with lines of progress.
    run_teacher: from `compile_teacher`; None compiles the teacher.
  """
  examples = FullPass(plan.order, plan.manifest.augmentations)
  batches = max(CHUNK // examples.batch_size, 1)
  writer = Writer(
    plan.path,
    plan.manifest,
    outputs.parts(plan.manifest.outputs),
    plan.order.source.index,
    plan.manifest.augmentations,
    chunk_rows=batches * examples.batch_size,
  )
  missing = writer.missing_of_process(*part)
  if missing and run_teacher is None:
    run_teacher = compile_teacher(stage, plan)
  bases = _bases(writer, plan, examples.length, run_teacher, log)
  began = time.monotonic()
  for count, (view, chunk) in enumerate(missing, 1):
    first = view * examples.length + chunk * batches
    last = min(first + batches, (view + 1) * examples.length)
    rows = list(run_teacher(first, last))
    values = {
      key: np.concatenate([batch[key] for batch in rows]) for key in rows[0]
    }
    stored = outputs.encode(plan.manifest.outputs, values, bases)
    writer.write(view, chunk, stored)
    each = (time.monotonic() - began) / count
    left = terminal.duration(each * (len(missing) - count))
    log(f"{count} of {len(missing)} chunks, {left} left")
    if count == 1:
      for line in _distortions(plan.manifest.outputs, values, stored, bases):
        log(line)
  if part == (0, 1):
    writer.finish()


def verify(
  stage: Stage,
  plan: Plan,
  *,
  batches: int = 8,
  log: Callable[[str], None] = lambda line: None,
) -> None:
  """Runs a teacher again on some batches and compares its stored outputs.

  Raises:
    UserError: a stored output differs from the teacher's.
  """
  reader = open_cache(plan)
  examples = FullPass(plan.order, plan.manifest.augmentations)
  run_teacher = compile_teacher(stage, plan)
  total = plan.manifest.augmentations * examples.length
  steps = np.random.default_rng(0).permutation(total)[:batches]
  codecs_of = plan.manifest.outputs
  bases = pca.all_of(reader.layout, codecs_of)
  named = {"unit": "batches"}
  for step in progress.tracked(np.sort(steps).tolist(), "verify", **named):
    (values,) = run_teacher(step, step + 1)
    drawn = examples.draw(step, slice(examples.valid(step)))
    index = plan.order.source.index[drawn["position"]]
    stored = reader.take(index, drawn["view"])
    stored = outputs.decode(codecs_of, stored, bases)
    again = outputs.encode(codecs_of, values, bases)
    again = outputs.decode(codecs_of, again, bases)
    for key in codecs_of:
      error = np.abs(np.asarray(stored[key]) - np.asarray(again[key])).max()
      scale = max(np.abs(values[key]).max(), 1.0)
      if not error <= TOLERANCE * scale:
        raise UserError(
          f"In the cache {plan.path}, '{key}' of view {drawn['view'][0]}"
          f" differs from the teacher's output by up to {error:.3g}.",
          "Remove the cache and make it again.",
        )
  log(
    f"compared {len(steps)} of {total} batches: each matches the teacher's"
    " outputs"
  )


class FullPass:
  """An order of examples like a `TrainFeed`: all examples in all views.

  Args:
    order: the training examples of a seed.
    views: number of views of each example.
  """

  def __init__(self, order: TrainFeed, views: int):
    self.source, self.batch_size = order.source, order.batch_size
    self.order, self.views, self.partners = order, views, order.partners
    self.length = math.ceil(len(order.source) / order.batch_size)

  def valid(self, step: int) -> int:
    """The number of examples in the batch of a step."""
    start = step % self.length * self.batch_size
    return min(len(self.source) - start, self.batch_size)

  def draw(self, step: int, part: slice = ALL) -> dict[str, np.ndarray]:
    """See `TrainFeed`."""
    view, batch = divmod(step, self.length)
    rows = batch * self.batch_size + np.arange(self.batch_size, dtype=np.int32)
    valid = rows < len(self.source)
    rows = np.where(valid, rows, 0)
    drawn = {"position": rows, "view": np.full_like(rows, view)}
    drawn["valid"] = np.ones_like(valid)
    if self.partners:
      drawn["partner"] = self.order.partner_of(rows, view)
    return {key: array[part] for key, array in drawn.items()}

  def batch(self, step: int, part: slice = ALL) -> dict[str, np.ndarray]:
    """See `TrainFeed`."""
    return gathered(self.source, self.draw(step, part), self.partners)


def compile_teacher(stage: Stage, plan: Plan) -> Callable:
  """Compiles a teacher: (first, last) -> the outputs of steps of a `FullPass`.

  Args:
    stage: its terms read the teacher.
    plan: of the cache.
  """
  examples = FullPass(plan.order, plan.manifest.augmentations)
  data = stage.config["data"]
  kind = "pmap" if stage.objective.axis_name else "mesh"
  placement = Placement(kind, 1, "loop", {plan.teacher: False})
  feed = loaders.make(data, placement, [examples], stage.spec)
  program = placement.compile(
    feed.over(programs.teacher_program(stage, plan.teacher)),
    ("state", "fixed", *feed.roles),
  )
  fixed = placement.put_fixed([plan.fixed])

  def run(first: int, last: int) -> Iterator[dict[str, np.ndarray]]:
    for step, batch in enumerate(feed.batches(first, last), first):
      (result,) = program([()], fixed, *batch)
      yield {
        stored_name(key): placement.rows(leaf)[: examples.valid(step)]
        for key, leaf in result.items()
      }

  return run


def _bases(
  writer: Writer,
  plan: Plan,
  batches: int,
  run_teacher: Callable | None,
  log: Callable[[str], None],
) -> dict[str, pca.Basis]:
  """The bases of outputs that are stored as pca<k>, fitted if need be.

  They are fitted to the first view of batches from all over the training split.

  Raises:
    UserError: the cache has chunks, and lost a basis.
  """
  layout, stored = writer.layout, plan.manifest.outputs
  widths = pca.of_outputs(stored)
  known = pca.read(layout, stored)
  if widths.keys() == known.keys() or run_teacher is None:
    return known
  if len(writer.missing()) < len(writer.chunks()):
    return pca.all_of(layout, stored)
  steps = np.linspace(0, batches - 1, min(batches, FITTED)).astype(int)
  values = [next(iter(run_teacher(step, step + 1))) for step in steps.tolist()]
  for name, k in widths.items():
    pca.write(layout, name, pca.fit([batch[name] for batch in values], k))
  bases = pca.all_of(layout, stored)
  for name, basis in bases.items():
    log(pca.described(name, basis))
  return bases


def _distortions(
  codecs_of: Mapping[str, Output],
  values: Mapping[str, np.ndarray],
  stored: Mapping[str, np.ndarray],
  bases: Mapping[str, pca.Basis],
) -> Iterator[str]:
  """Lines with the error of every output that is not stored exactly."""
  decoded = outputs.decode(codecs_of, stored, bases)
  for key, output in codecs_of.items():
    if output.codec == "float32":
      continue
    error = codecs.distortion(values[key], np.asarray(decoded[key]))
    # A vector is assumed to be logits.
    kl = f"KL {error.kl:.2g} nats, " if len(output.shape) == 1 else ""
    yield (
      f"{key} as {output.codec}: {kl}largest difference {error.difference:.2g}"
    )
