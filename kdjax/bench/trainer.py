"""A stage on its devices that is stepped to be timed, and nothing more."""

import dataclasses
import pathlib
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import jax

from kdjax.feed import loaders
from kdjax.stage import build, grids
from kdjax.stage.stage import Stage
from kdjax.teachers import cache_reader, outputs, programs
from kdjax.training import experiment

# Steps of a feed without an end.
ENDLESS = 2**30

# Steps between those that are waited for, at most; as the loop does to record.
UNAWAITED = 50


class Trainer:
  """A stage on its devices, whose state goes on from step to step.

  Its teachers are as they are initialised: no stage was trained before.

  Args:
    config: of the experiment, as nested dicts.
    name: of the stage.
    workdir: where the caches of its teachers are, or are made. None: a teacher
      that has a cache gives in every step what it gives for the first batch,
      as if it were read in no time.

  Attributes:
    given: teachers that do not run in the step.
    objective: without these.
    train_step: likewise.
  """

  def __init__(
    self,
    config: Mapping[str, Any],
    name: str,
    workdir: pathlib.Path | None = None,
  ):
    plain = build.build(config, name)
    self.placement = experiment.place(config, plain)
    self.placement.check(plain.config["batch_size"])
    self.stage = build.build(config, name, self.placement.axis_name)
    self.workdir = workdir
    self.seeds = grids.repeated(
      self.stage.config["grid"], experiment.seeds_of(config)
    )
    init = jax.jit(self.stage.init)
    self.hosted = [
      self.stage.fixed(fresh(self.stage, seed), self.stage.facts(seed))
      for seed in self.seeds
    ]
    self.fixed = self.placement.put_fixed(self.hosted)
    self.state = self.placement.put(
      [
        init(seed, one)
        for seed, one in zip(self.seeds, self.hosted, strict=True)
      ]
    )
    self.orders = self.stage.train_feeds(self.seeds)
    self.given = tuple(outputs.apart(self.stage))
    self.objective, self.train_step = (
      self.stage.objective,
      self.stage.train_step,
    )
    if self.given:
      self.objective = dataclasses.replace(self.objective, given=self.given)
      self.train_step = programs.train_step(self.stage, self.given)
    self._compiled: dict[tuple, tuple[Callable, Callable]] = {}

  @property
  def examples(self) -> int:
    """How many a step has, of all seeds."""
    return self.stage.config["batch_size"] * len(self.seeds)

  @property
  def unawaited(self) -> int:
    """Steps that are not waited for."""
    return min(self.stage.config["log_every"] or UNAWAITED, UNAWAITED)

  def kind(self, kind: str, size: int) -> str:
    """ "device" or "stream", as `feeds.kind_of` says."""
    return loaders.kind_of(kind, self.stage.spec, size)

  def feeds(self, workers: int) -> dict[str, Callable[[], Any]]:
    """Every feed by name, and what makes it.

    Args:
      workers: processes of the stream that has some.
    """
    stream = lambda count: loaders.Stream(self.placement, self.orders, count)
    found = {
      "device": lambda: loaders.Rows(self.placement, self.orders),
      named("stream", 0): lambda: stream(0),
      named("stream", workers): lambda: stream(workers),
    }
    return {
      name: lambda make=make: self.taught(make())
      for name, make in found.items()
    }

  def feed(self) -> Any:
    """The feed of the config."""
    data = self.stage.config["data"]
    made = loaders.make(data, self.placement, self.orders, self.stage.spec)
    return self.taught(made)

  def taught(self, feed: Any) -> Any:
    """A feed, and with its batches what teachers that are beside give."""
    if self.workdir is not None:
      return outputs.supplied(
        self.stage,
        self.placement,
        self.workdir,
        feed,
        self.orders,
        (self.hosted, self.fixed),
        quiet=True,
      )[0]
    supplies = []
    for name in self.given:
      teacher = self.stage.config["teachers"][name]
      if "outputs" in teacher:
        supplies.append(
          cache_reader.imported_by(
            name, teacher, feed, self.orders, self.placement
          )
        )
        continue
      kind = Held if teacher["cache"] else outputs.Program
      program = programs.program(self.stage, name)
      supplies.append(kind(program, feed, self.placement, self.fixed))
    return outputs.Taught(feed, supplies) if supplies else feed

  def compiled(self, feed: Any) -> tuple[Callable, Callable]:
    """The step on what a feed gives, and what only puts its batch in place.

    Args:
      feed: None is a batch that is in place.
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

  def first(self, feed: Any) -> Any:
    """The first batch of a feed, in place."""
    _, place = self.compiled(feed)
    batches = feed.batches(0, 1)
    return place(self.state, self.fixed, *next(batches))

  def advance(self, program: Callable, *batch) -> Any:
    """Goes on to the state that a donating program gives; its metrics."""
    done = program(self.state, self.fixed, *batch)
    self.state = [state for state, _ in done]
    return [metrics for _, metrics in done]


class Held(outputs.Program):
  """A teacher that runs once: what it gives is what every batch comes with."""

  def ready(self, start: int, stop: int) -> Callable:
    """Takes a batch, and gives the outputs for the first."""
    run, found = super().ready(start, stop), []

    def take(batch):
      if not found:
        found.append(run(batch))
      return found[0]

    return take


def fresh(stage: Stage, seed: int) -> dict[str, Any]:
  """The variables of a stage's teachers, as they are initialised.

  Args:
    stage: whose teachers they are.
    seed: of what is drawn.
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


def named(kind: str, workers: int) -> str:
  """What a feed is called here."""
  if kind == "device":
    return kind
  return f"stream, {workers} processes" if workers else "stream, threads"
