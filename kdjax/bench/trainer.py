"""A stage on its devices that runs training steps to be timed."""

import dataclasses
import pathlib
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from kdjax.feed import loaders
from kdjax.stage.stage import Stage
from kdjax.step import parts
from kdjax.step.state import Fixed
from kdjax.teachers import cache_reader, outputs, programs
from kdjax.training import placed

# Steps of a feed without an end.
ENDLESS = 2**30

# At most so many steps are pending; a run's loop waits to record metrics.
MAX_PENDING = 50


class Trainer:
  """A stage on its devices; every step updates its state.

  Its teachers have initial variables: no other stage needs to be trained.

  Args:
    config: of the experiment, as nested dicts.
    name: of the stage.
    workdir: has the caches of its teachers, or they are written there. None: a
      teacher with a cache gives the outputs for the first batch in every step,
      so that reading takes no time.

  Attributes:
    precomputed: teachers that do not run in the step.
    objective: without the computation of these teachers.
    train_step: the step, which reads their outputs from the batch.
    seeds: of each state.
    host_fixed: teachers and numbers of each state, on the host.
    fixed: the same on the devices.
    state: of each seed, on the devices.
    orders: the training feed of each seed.
  """

  def __init__(
    self,
    config: Mapping[str, Any],
    name: str,
    workdir: pathlib.Path | None = None,
  ):
    placed_stage = placed.place(config, name, initial_fixed)
    self.stage, self.placement = placed_stage.stage, placed_stage.placement
    self.seeds, self.host_fixed = placed_stage.seeds, placed_stage.fixed
    self.workdir = workdir
    init = jax.jit(self.stage.init)
    self.fixed = self.placement.put_fixed(self.host_fixed)
    self.state = self.placement.put(
      [
        init(seed, fixed)
        for seed, fixed in zip(self.seeds, self.host_fixed, strict=True)
      ]
    )
    self.orders = self.stage.train_feeds(self.seeds)
    self.precomputed = tuple(outputs.teachers_outside(self.stage))
    self.objective, self.train_step = (
      self.stage.objective,
      self.stage.train_step,
    )
    if self.precomputed:
      self.objective = dataclasses.replace(
        self.objective, precomputed=self.precomputed
      )
      self.train_step = programs.train_step(self.stage, self.precomputed)
    self._compiled: dict[tuple, tuple[Callable, Callable]] = {}

  @property
  def examples(self) -> int:
    """Examples per step, of all seeds."""
    return self.stage.config["batch_size"] * len(self.seeds)

  @property
  def max_pending(self) -> int:
    """After how many steps the loop waits for their metrics."""
    return min(self.stage.config["log_every"] or MAX_PENDING, MAX_PENDING)

  def kind(self, kind: str, size: int) -> str:
    """The kind of a feed, "device" or "stream", see `loaders.kind_of`.

    Args:
      kind: "auto", "device" or "stream".
      size: the number of examples.
    """
    return loaders.kind_of(kind, self.stage.spec, size)

  def feeds(self, workers: int) -> dict[str, Callable[[], Any]]:
    """Functions that create each feed, by name.

    Args:
      workers: the number of processes of the stream with processes, which
        there is only without pipelines of the view "once".
    """
    stream = lambda count: loaders.Stream(self.placement, self.orders, count)
    makers = {
      "device": lambda: loaders.Rows(self.placement, self.orders),
      feed_name("stream", 0): lambda: stream(0),
    }
    if not self.stage.once.pipelines:
      makers[feed_name("stream", workers)] = lambda: stream(workers)
    return {
      name: lambda make=make: self.with_teachers(make())
      for name, make in makers.items()
    }

  def feed(self) -> Any:
    """The feed of the config."""
    data = self.stage.config["data"]
    feed = loaders.make(data, self.placement, self.orders, self.stage.spec)
    return self.with_teachers(feed)

  def with_teachers(self, feed: Any) -> Any:
    """A feed that adds the outputs of the precomputed teachers."""
    if self.workdir is not None:
      return outputs.feed_and_train_step(
        self.stage,
        self.placement,
        self.workdir,
        feed,
        self.orders,
        (self.host_fixed, self.fixed),
        quiet=True,
      )[0]
    teachers = []
    for name in self.precomputed:
      teacher = self.stage.config["teachers"][name]
      if "outputs" in teacher:
        teachers.append(
          cache_reader.imported_outputs(
            name, teacher, feed, self.orders, self.placement
          )
        )
        continue
      kind = FirstOutputs if teacher["cache"] else outputs.TeacherProgram
      program = programs.teacher_program(self.stage, name)
      teachers.append(kind(program, feed, self.placement, self.fixed))
    return outputs.FeedWithTeachers(feed, teachers) if teachers else feed

  def compiled(self, feed: Any) -> tuple[Callable, Callable]:
    """The step on a feed's batches, and a program that only gathers them.

    Args:
      feed: None is a batch that is on the devices.
    """
    over = feed.over if feed else lambda step: step
    roles = ("state", "fixed", *(feed.roles if feed else ("batch",)))
    if roles not in self._compiled:
      compile_ = self.placement.compile
      self._compiled[roles] = (
        compile_(over(self.train_step), roles, donate=True),
        compile_(over(lambda state, fixed, batch: batch), roles),
      )
    return self._compiled[roles]

  def first_batch(self, feed: Any) -> Any:
    """The first batch of a feed, on the devices."""
    _, put = self.compiled(feed)
    batches = feed.batches(0, 1)
    return put(self.state, self.fixed, *next(batches))

  def advance(self, program: Callable, *batch) -> Any:
    """Calls a program that donates the state; keeps its state.

    Returns:
      The metrics of each state.
    """
    results = program(self.state, self.fixed, *batch)
    self.state = [state for state, _ in results]
    return [metrics for _, metrics in results]


class FirstOutputs(outputs.TeacherProgram):
  """A teacher that runs on the first batch; all batches get these outputs."""

  def for_steps(self, start: int, stop: int) -> Callable:
    """batch -> the outputs for the first batch."""
    run, first = super().for_steps(start, stop), []

    def load(batch):
      if not first:
        first.append(run(batch))
      return first[0]

    return load


def initial_fixed(stage: Stage, seeds: Sequence[int]) -> list[Fixed]:
  """The initial teachers of each seed, with the terms' numbers."""
  return [
    stage.fixed(
      {**initial_teachers(stage, seed), **_initial_still(stage, seed)},
      stage.data_statistics(seed),
    )
    for seed in seeds
  ]


def _initial_still(stage: Stage, seed: int) -> dict[str, Any]:
  """Initial values of what networks hold still."""
  still = stage.objective.still
  if not any(still.values()):
    return {}
  fixed = stage.fixed(initial_teachers(stage, seed))
  init = jax.jit(stage.objective.init)
  networks = init(jax.random.key(seed), fixed, stage.example())["networks"]
  return {
    f"{parts.STILL}{name}": parts.split(networks[name], patterns)[1]
    for name, patterns in still.items()
    if patterns
  }


def initial_teachers(stage: Stage, seed: int) -> dict[str, Any]:
  """The initial variables of a stage's teachers.

  Args:
    stage: has the teachers.
    seed: of the random numbers.
  """
  names = tuple(stage.teacher_shapes())

  def init(key):
    inputs = stage.objective.flow({}, None, stage.example()).inputs
    keyed = lambda name: jax.random.fold_in(key, zlib.crc32(name.encode()))
    return {
      name: stage.objective.teachers[name].init(
        keyed(name), inputs(name), train=False
      )
      for name in names
    }

  return jax.jit(init)(jax.random.key(seed)) if names else {}


def feed_name(kind: str, workers: int) -> str:
  """The name of a feed in results."""
  if kind == "device":
    return kind
  return f"stream, {workers} processes" if workers else "stream, threads"
