"""Teachers outside of the step: from a cache, or by programs of their own.

The step is then given what its terms read of them, beside its batch. A program
of its own is the very program that makes a cache, so that a run which reads
from a cache is, bit for bit, the run whose teacher is `separate`.
"""

import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax

from kdjax.cache.store import Reader
from kdjax.devices.placement import Placement
from kdjax.errors import UserError
from kdjax.feed.index_stream import TrainFeed
from kdjax.stage.stage import Stage
from kdjax.step.state import Fixed
from kdjax.step.step import training_only
from kdjax.teachers import cache_plan, cache_reader, cache_writer, programs
from kdjax.types import Array


class Taught:
  """A feed whose batches come with what teachers gave for them.

  Args:
    feed: of the batches.
    supplies: where the teachers' outputs come from, each a `Program` or a
      `stored.Stored`.
  """

  def __init__(self, feed: Any, supplies: Sequence[Any]):
    self.feed, self.supplies = feed, list(supplies)
    self.roles = (*feed.roles, *(supply.role for supply in supplies))

  def over(self, step: Callable) -> Callable:
    """A step of (.., batch) as one of what `batches` gives."""

    def given(state, fixed, *arguments):
      inner = arguments[: len(self.feed.roles)]
      found = {}
      for supply, arrays in zip(
        self.supplies, arguments[len(inner) :], strict=True
      ):
        found |= supply.outputs(arrays, inner[-1])
      told = lambda state, fixed, batch: step(state, fixed, {**batch, **found})
      return self.feed.over(told)(state, fixed, *inner)

    return given

  def batches(self, start: int, stop: int) -> Iterator[tuple[Any, ...]]:
    """What the steps from `start` up to `stop` are called with."""
    ready = [supply.ready(start, stop) for supply in self.supplies]
    for batch in self.feed.batches(start, stop):
      yield (*batch, *(take(batch) for take in ready))


def supplied(
  stage: Stage,
  placement: Placement,
  workdir: pathlib.Path,
  feed: Any,
  orders: Sequence[TrainFeed],
  fixed: tuple[Sequence[Fixed], Sequence[Fixed]],
  *,
  quiet: bool = False,
) -> tuple[Any, Callable]:
  """The feed and the training step of a stage, whose teachers may be cached.

  Args:
    stage: which trains.
    placement: where.
    workdir: of the experiment.
    feed: of the batches.
    orders: what each seed sees.
    fixed: what the steps of each seed read; and the same, placed.
    quiet: whether no progress is shown.

  Raises:
    UserError: a cache that is not there, or of something else.
  """
  say = (lambda _: None) if quiet else (lambda text: print(text, flush=True))
  supplies: dict[str, Any] = {}
  for name in apart(stage):
    teacher = stage.config["teachers"][name]
    if "outputs" in teacher:
      supplies[name] = cache_reader.imported_by(
        name, teacher, feed, orders, placement
      )
      continue
    program = Program(programs.program(stage, name), feed, placement, fixed[1])
    supplies[name] = program
    if teacher["cache"]:
      plans = cache_plan.plan(stage, workdir, name, orders, fixed[0])
      readers = _readers(stage, placement, plans, feed, program, say)
      if readers:
        supplies[name] = cache_reader.supply(
          name, readers, feed, orders, placement, rest=teacher["rest"]
        )
  if not supplies:
    return feed, stage.train_step
  return Taught(feed, supplies.values()), programs.train_step(stage, supplies)


def measured(
  stage: Stage, placement: Placement, feed: Any, placed: Sequence[Fixed]
) -> tuple[Any, Callable]:
  """The feed and the evaluation of a split on which a stage is often measured.

  Teachers that are not in the training step run there once, not each time.

  Args:
    stage: which is measured.
    placement: where.
    feed: of the split.
    placed: what the steps of each seed read.
  """
  teach = lambda name: programs.program(stage, name, train=False)
  once = {
    name: Once(teach(name), feed, placement, placed)
    for name in apart(stage)
    if not training_only(stage.objective.teachers[name])
  }
  if not once:
    return feed, stage.eval_step
  return Taught(feed, once.values()), programs.eval_step(stage, once)


def apart(stage: Stage) -> list[str]:
  """The teachers that are not in a stage's training step."""
  return [
    name
    for name, teacher in stage.config["teachers"].items()
    if any(teacher.get(key) for key in ("cache", "separate", "outputs"))
  ]


def _readers(stage, placement, plans, feed, program, say) -> list[Reader]:
  """The cache of each seed, made where it pays; none where it does not."""
  name = plans[0].teacher
  made = {one.path: one for one in plans}
  if stage.config["teachers"][name]["cache"] == cache_plan.AUTO:
    missing = [one for one in made.values() if not cache_plan.is_done(one)]
    if missing and jax.process_count() > 1:
      raise UserError(
        f"The cache of '{name}' is not made, and several processes run.",
        "Make it before, with `kdjax cache`, and name its path.",
      )
    if missing:
      batch = next(iter(feed.batches(0, 1)))
      run = lambda *batch: program.ready(0, 1)(batch)
      seconds = cache_plan.time_of(run, batch) / placement.seeds
      for one in missing:
        say(cache_plan.estimate(stage, one, seconds))
      against = next(
        filter(None, (cache_plan.pays(stage, o) for o in missing)), ""
      )
      if against:
        say(f"'{name}' is not cached: {against}. It runs beside the step.")
        return []
    for one in missing:
      cache_writer.make(stage, one, said=say)
  opened = {path: cache_plan.read(one) for path, one in made.items()}
  return [opened[one.path] for one in plans]


class Program:
  """A teacher that runs beside the step, in a program of its own.

  Args:
    teach: (state, fixed, batch) -> {given/<address>: [B ...]}; no state.
    feed: of the batches.
    placement: where it runs.
    fixed: placed, with its variables.
  """

  def __init__(
    self, teach: Callable, feed: Any, placement: Placement, fixed: Sequence[Any]
  ):
    self.fixed, self.nothing = fixed, [()] * len(fixed)
    self.run = placement.compile(
      feed.over(teach), ("state", "fixed", *feed.roles)
    )

  role = "batch"

  def outputs(
    self, arrays: dict[str, Array], drawn: dict[str, Array]
  ) -> dict[str, Array]:
    """They are what the step is to be given."""
    del drawn
    return arrays

  def ready(self, start: int, stop: int) -> Callable:
    """Takes a batch, and gives the outputs for it."""
    del start, stop
    return lambda batch: self.run(self.nothing, self.fixed, *batch)


class Once(Program):
  """A teacher that runs beside the step, once for each batch of a split.

  What it gave is kept on the devices, up to `stored.HELD` bytes; a later pass
  over the split reads it there.
  """

  def __init__(self, *arguments):
    super().__init__(*arguments)
    self.known: dict[int, list[Any]] = {}
    self.bytes = 0

  def ready(self, start: int, stop: int) -> Callable:
    """Takes a batch, and gives the outputs for it."""
    steps = iter(range(start, stop))

    def take(batch):
      step = next(steps)
      if step in self.known:
        return self.known[step]
      made = self.run(self.nothing, self.fixed, *batch)
      size = sum(leaf.nbytes for leaf in jax.tree.leaves(made))
      if self.bytes + size <= cache_reader.HELD:
        self.known[step], self.bytes = made, self.bytes + size
      return made

    return take
