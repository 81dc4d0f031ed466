"""Outputs of teachers outside of the step: from a cache or their own program.

Each batch then holds the teacher outputs that the step's terms read. The
program of a separate teacher is the one that makes a cache. So a run that reads
a cache equals, bit for bit, the run with a `separate` teacher.
"""

import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax

from kdjax.cache.store import Reader
from kdjax.config import terminal
from kdjax.devices.placement import Placement
from kdjax.errors import UserError
from kdjax.feed.index_stream import TrainFeed
from kdjax.stage.stage import Stage
from kdjax.step.state import Fixed
from kdjax.step.step import training_only
from kdjax.teachers import cache_plan, cache_reader, cache_writer, programs
from kdjax.types import Array


class FeedWithTeachers:
  """A feed that adds teacher outputs to its batches.

  Args:
    feed: of the batches.
    teachers: where the outputs come from: `TeacherProgram`s and
      `cache_reader.CachedOutputs`.
  """

  def __init__(self, feed: Any, teachers: Sequence[Any]):
    self.feed, self.teachers = feed, list(teachers)
    self.roles = (*feed.roles, *(teacher.role for teacher in teachers))

  def over(self, step: Callable) -> Callable:
    """Wraps a step of (.., batch) to take the arguments of `batches`."""

    def wrapped(state, fixed, *arguments):
      count = len(self.feed.roles)
      of_feed, of_teachers = arguments[:count], arguments[count:]
      added = {}
      for teacher, arrays in zip(self.teachers, of_teachers, strict=True):
        added |= teacher.decode(arrays, of_feed[-1])
      with_outputs = lambda state, fixed, batch: step(
        state, fixed, {**batch, **added}
      )
      return self.feed.over(with_outputs)(state, fixed, *of_feed)

    return wrapped

  def batches(self, start: int, stop: int) -> Iterator[tuple[Any, ...]]:
    """The arguments of the steps `start` .. `stop - 1`."""
    loads = [teacher.for_steps(start, stop) for teacher in self.teachers]
    for batch in self.feed.batches(start, stop):
      yield (*batch, *(load(batch) for load in loads))


def feed_and_train_step(
  stage: Stage,
  placement: Placement,
  workdir: pathlib.Path,
  feed: Any,
  orders: Sequence[TrainFeed],
  fixed: tuple[Sequence[Fixed], Sequence[Fixed]],
  *,
  quiet: bool = False,
) -> tuple[Any, Callable]:
  """The feed and training step of a stage, with its teachers outside.

  A stage without such teachers keeps its own feed and step.

  Args:
    stage: that is trained.
    placement: of the stage.
    workdir: of the experiment.
    feed: of the batches.
    orders: the training examples of each seed, in order.
    fixed: teachers and numbers of each seed; and the same, placed.
    quiet: whether no progress is printed.

  Raises:
    UserError: a cache does not exist or does not fit the run.
  """
  log = (lambda _: None) if quiet else terminal.line
  teachers: dict[str, Any] = {}
  for name in teachers_outside(stage):
    teacher = stage.config["teachers"][name]
    if "outputs" in teacher:
      teachers[name] = cache_reader.imported_outputs(
        name, teacher, feed, orders, placement
      )
      continue
    program = TeacherProgram(
      programs.teacher_program(stage, name), feed, placement, fixed[1]
    )
    teachers[name] = program
    if teacher["cache"]:
      plans = cache_plan.plan(stage, workdir, name, orders, fixed[0])
      readers = plans and _readers(stage, placement, plans, feed, program, log)
      if readers:
        teachers[name] = cache_reader.cached_outputs(
          name, readers, feed, orders, placement, rest=teacher["rest"]
        )
  if not teachers:
    return feed, stage.train_step
  return (
    FeedWithTeachers(feed, teachers.values()),
    programs.train_step(stage, teachers),
  )


def feed_and_eval_step(
  stage: Stage, placement: Placement, feed: Any, placed: Sequence[Fixed]
) -> tuple[Any, Callable]:
  """The feed and evaluation step of a split that is evaluated many times.

  Teachers outside of the training step run once per batch; their outputs are
  kept for later evaluations.

  Args:
    stage: that is evaluated.
    placement: of the stage.
    feed: of the split.
    placed: teachers and numbers of each seed, placed.
  """
  program_of = lambda name: programs.teacher_program(stage, name, train=False)
  teachers = {
    name: MemoizedTeacherProgram(program_of(name), feed, placement, placed)
    for name in teachers_outside(stage)
    if not training_only(stage.objective.teachers[name])
  }
  if not teachers:
    return feed, stage.eval_step
  return (
    FeedWithTeachers(feed, teachers.values()),
    programs.eval_step(stage, teachers),
  )


def teachers_outside(stage: Stage) -> list[str]:
  """The teachers that do not run in a stage's training step."""
  return [
    name
    for name, teacher in stage.config["teachers"].items()
    if any(teacher.get(key) for key in ("cache", "separate", "outputs"))
  ]


def _readers(stage, placement, plans, feed, program, log) -> list[Reader]:
  """The cache of each seed, made if that saves time; [] if it does not."""
  name = plans[0].teacher
  by_path = {plan.path: plan for plan in plans}
  if stage.config["teachers"][name]["cache"] == cache_plan.AUTO:
    missing = [
      plan for plan in by_path.values() if not cache_plan.is_complete(plan)
    ]
    if missing and jax.process_count() > 1:
      raise UserError(
        f"The cache of '{name}' does not exist, and several processes run.",
        "Make it first with `kdjax cache`, and set `cache` to its path.",
      )
    if missing:
      batch = next(iter(feed.batches(0, 1)))
      run = lambda *batch: program.for_steps(0, 1)(batch)
      seconds = cache_plan.seconds_per_call(run, batch) / placement.seeds
      for plan in missing:
        log(cache_plan.estimate(stage, plan, seconds))
      reasons = (cache_plan.reason_against(stage, plan) for plan in missing)
      reason = next(filter(None, reasons), "")
      if reason:
        log(f"'{name}' is not cached: {reason}. It runs outside the step.")
        return []
    for plan in missing:
      cache_writer.write(stage, plan, log=log)
  readers = {path: cache_plan.open_cache(p) for path, p in by_path.items()}
  return [readers[plan.path] for plan in plans]


class TeacherProgram:
  """A teacher that runs outside of the step, in its own program.

  Args:
    program: (state, fixed, batch) -> {precomputed/<address>: [B ...]}, as from
      `programs.teacher_program`.
    feed: of the batches.
    placement: of the program.
    fixed: with the teacher's variables, placed.
  """

  role = "batch"

  def __init__(
    self,
    program: Callable,
    feed: Any,
    placement: Placement,
    fixed: Sequence[Any],
  ):
    self.fixed, self.no_state = fixed, [()] * len(fixed)
    self.run = placement.compile(
      feed.over(program), ("state", "fixed", *feed.roles)
    )

  def decode(
    self, arrays: dict[str, Array], drawn: dict[str, Array]
  ) -> dict[str, Array]:
    """The arrays for the step: the program's outputs, unchanged."""
    del drawn
    return arrays

  def for_steps(self, start: int, stop: int) -> Callable:
    """A function from the batches of some steps, in order, to outputs."""
    del start, stop
    return lambda batch: self.run(self.no_state, self.fixed, *batch)


class MemoizedTeacherProgram(TeacherProgram):
  """A teacher that runs once for each batch of a split.

  Its outputs stay on the devices, up to `cache_reader.MEMORY_BYTES`; later
  passes over the split read them there.
  """

  def __init__(self, *arguments):
    super().__init__(*arguments)
    self.known: dict[int, list[Any]] = {}
    self.bytes = 0

  def for_steps(self, start: int, stop: int) -> Callable:
    """A function from the batches of some steps, in order, to outputs."""
    steps = iter(range(start, stop))

    def load(batch):
      step = next(steps)
      if step in self.known:
        return self.known[step]
      outputs = self.run(self.no_state, self.fixed, *batch)
      size = sum(leaf.nbytes for leaf in jax.tree.leaves(outputs))
      if self.bytes + size <= cache_reader.MEMORY_BYTES:
        self.known[step], self.bytes = outputs, self.bytes + size
      return outputs

    return load
