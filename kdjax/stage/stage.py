"""A stage of an experiment: what trains, on what, and how it is measured."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from kdjax import registry
from kdjax.config import fields
from kdjax.errors import UserError
from kdjax.feed import buckets as bucketing
from kdjax.feed.index_stream import TrainFeed
from kdjax.stage import grids
from kdjax.step import schedules
from kdjax.step import state as states
from kdjax.step.flow import Address
from kdjax.step.objective import Objective
from kdjax.step.state import Fixed, State
from kdjax.step.step import COUNTS, INIT, Family, key_of, make_eval_step
from kdjax.step.terms import HEADS
from kdjax.step.views import Corruption
from kdjax.types import Source, Spec


@dataclasses.dataclass(frozen=True)
class Stage:
  """One training run, ready to be placed on devices."""

  name: str
  config: Mapping[str, Any]  # of this stage, its data merged
  objective: Objective
  optimizer: optax.GradientTransformation
  families: Mapping[str, Any]  # name -> module of metrics
  measured: Mapping[str, Family]  # likewise, with what they read
  spec: Spec
  train_step: Callable
  eval_step: Callable
  corruptions: Mapping[str, Corruption]

  @property
  def maximise(self) -> bool:
    """Whether more of the selecting metric is better."""
    return self.config["select_mode"] == "max"

  def load(self, split: str, seed: int | None = None) -> Source:
    """A split of the stage's data."""
    return self.dataset.load(split, seed, **self.data_options)

  def load_all(self, split: str, seeds: Sequence[int]) -> list[Source]:
    """A split of each seed: one and the same where the data draw nothing."""
    if not getattr(self.dataset, "SEED_DRAWS", True):
      return [self.load(split)] * len(seeds)
    own = {seed: self.load(split, seed) for seed in dict.fromkeys(seeds)}
    return [own[seed] for seed in seeds]

  def measured_on(self, split: str, seeds: Sequence[int]) -> list[Source]:
    """A split for all seeds, or one each where the data draw that too."""
    if getattr(self.dataset, "SEED_DRAWS_ALL", False):
      return self.load_all(split, seeds)
    return [self.load(split)]

  @property
  def dataset(self) -> Any:
    """The file of `kdjax/data`."""
    return registry.find("data", self.config["data"]["name"])

  @property
  def data_options(self) -> dict[str, Any]:
    """The options of its `load`."""
    return fields.without(self.config["data"], fields.RESERVED["data"])

  def class_names(self) -> tuple[str, ...]:
    """What the labels of the data stand for; () where they are no classes."""
    names = getattr(self.dataset, "class_names", lambda **_: ())
    return tuple(names(**self.data_options))

  def train_feeds(self, seeds: Sequence[int]) -> list[TrainFeed]:
    """The order in which each seed sees the training examples."""
    loaded = dict(zip(seeds, self.load_all("train", seeds), strict=True))
    own = {seed: self.train_feed(loaded[seed], seed) for seed in loaded}
    return [own[seed] for seed in seeds]

  def train_feed(self, source: Source, seed: int) -> TrainFeed:
    """The order in which a seed sees a source."""
    data = self.config["data"]
    return TrainFeed(
      source,
      seed=seed,
      batch_size=self.config["batch_size"],
      labelled_fraction=data["labelled_fraction"],
      sampling=data["sampling"],
      augmentations=data["augmentations"],
      partners=self.partners,
      buckets=self.buckets,
      last_batch=data["last_batch"],
    )

  def example(self) -> dict[str, np.ndarray]:
    """A batch of one, of zeros."""
    batch = {
      key: np.zeros((1, *leaf.shape), leaf.dtype)
      for key, leaf in self.spec.items()
    }
    return {**batch, "view": np.zeros(1, np.int32), "valid": np.ones(1, bool)}

  @property
  def partners(self) -> tuple[str, ...]:
    """The keys of which a training batch has another example's too."""
    return self.objective.views.partners(self.spec)

  @property
  def buckets(self) -> dict[str, tuple[int, ...]]:
    """Modality -> the lengths that its texts are cut to."""
    return bucketing.complete(self.config["data"]["buckets"], self.spec)

  def init(
    self,
    seed: int | jax.Array,
    fixed: Fixed,
    given: Mapping[str, Any] | None = None,
  ) -> State:
    """A seed's state before its first step.

    Args:
      seed: i32 [].
      fixed: what the seed's steps read.
      given: {"networks": {name: variables}, "heads": likewise} to start from.
    """
    key = key_of(seed, INIT)
    variables = self.objective.init(key, fixed, self.example())
    for kind, trees in (given or {}).items():
      variables[kind].update(trees)
    return states.create(
      seed,
      variables,
      self.optimizer,
      tuple(term.name for term in self.objective.terms),
      average=self.config["ema_decay"] > 0,
      maximise=self.maximise,
    )

  def teacher_shapes(self) -> dict[str, Any]:
    """The variables of every teacher, as shapes."""
    flow = self.objective.flow({}, None, self.example())
    return {
      name: jax.eval_shape(
        functools.partial(module.init, train=False),
        jax.random.key(0),
        flow.inputs(name),
      )
      for name, module in self.objective.teachers.items()
      if name not in self.objective.averages
    }

  def facts(self, seed: int | None = None) -> dict[str, np.ndarray]:
    """What terms may read of the training data, at addresses `data/..`.

    Args:
      seed: whose labels are counted; None is shapes alone: ones.
    """
    classes = len(self.class_names())
    if not classes or not self.objective.reads_data:
      return {}
    counts = np.ones(classes, np.float32)
    if seed is not None:
      labels = self.load("train", seed).labels
      if labels.ndim == 2:  # of several classes each
        counts = np.sum(labels == 1, axis=0)
      else:
        counts = np.bincount(labels[labels >= 0], minlength=classes)
    return {"class_count": counts.astype(np.float32)}

  def fixed(
    self, teachers: Mapping[str, Any], facts: Mapping[str, Any] | None = None
  ) -> Fixed:
    """What a seed's steps read and never change.

    Args:
      teachers: name -> variables.
      facts: of `facts`; None is shapes alone.
    """
    return Fixed(
      teachers=dict(teachers),
      data=dict(self.facts() if facts is None else facts),
      numbers={
        name: {key: jnp.float32(value) for key, value in numbers.items()}
        for name, numbers in grids.numbers_of(self.config["terms"]).items()
      },
    )

  def weights(self, step: int) -> dict[str, float]:
    """Every term's weight at a step."""
    return {
      name: float(schedules.make(term["weight"], self.config["steps"])(step))
      for name, term in self.config["terms"].items()
    }

  def shapes(self) -> tuple[State, Fixed, Spec]:
    """A state, what its steps read, and a batch, as shapes."""
    fixed = jax.eval_shape(self.fixed, self.teacher_shapes())
    state = jax.eval_shape(self.init, 0, fixed)
    size = self.config["batch_size"]
    batch = {
      key: jax.ShapeDtypeStruct((size, *leaf.shape[1:]), leaf.dtype)
      for key, leaf in self.example().items()
    }
    return state, fixed, batch

  def trace(self) -> None:
    """Runs the whole flow on shapes alone, so that mistakes cost nothing.

    Raises:
      UserError: an address, a modality or a shape does not fit.
    """
    state, fixed, batch = self.shapes()
    size = self.config["batch_size"]
    self._check_classes(state, fixed, batch)
    partners = {f"partner/{key}": batch[key] for key in self.partners}
    jax.eval_shape(self.train_step, state, fixed, {**batch, **partners})
    for name in self.corruptions:
      level = {"level": jax.ShapeDtypeStruct((size,), np.float32)}
      step = self.corrupted(name).eval_step
      jax.eval_shape(step, states.evaluated(state), fixed, {**batch, **level})
    sums = jax.eval_shape(self.eval_step, states.evaluated(state), fixed, batch)
    select = self.config["select"]
    sums = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), sums)
    known = [
      name for name, value in self.results(sums).items() if np.ndim(value) == 0
    ]
    if select not in known:
      raise UserError(
        f"No metric '{select}' to select by.", exists=known, near=select
      )

  def _check_classes(self, state: State, fixed: Fixed, batch: Spec) -> None:
    """Raises `UserError` for logits that lack some of the data's classes."""
    classes = len(self.class_names())
    if not classes:
      return
    name = self.config["data"]["name"]
    label = Address.parse("batch/label")
    for term in self.objective.terms:
      read = term.reads.get("student")
      if term.reads.get("label") != label or "student" in term.heads:
        continue
      if isinstance(read, tuple) or read.network == HEADS:
        continue
      array = jax.eval_shape(
        lambda variables, fixed, batch, read=read: self.objective.flow(
          variables, self.objective.averaged(fixed, variables), batch
        )[read],
        states.evaluated(state),
        fixed,
        batch,
      )
      if array.ndim == 2 and array.shape[1] < classes:
        raise UserError(
          f"Term '{term.name}' reads {array.shape[1]} classes from "
          f"'{read.network}'; the labels of '{name}' are {classes}.",
          "Expected as many (num_classes).",
        )

  def corrupted(self, name: str) -> "Stage":
    """The stage, measured under one of its corruptions."""
    views = dataclasses.replace(
      self.objective.views, corruption=self.corruptions[name]
    )
    objective = dataclasses.replace(self.objective, views=views)
    return dataclasses.replace(
      self,
      objective=objective,
      eval_step=make_eval_step(objective, self.measured),
    )

  def results(self, sums: Mapping[str, Any]) -> dict[str, Any]:
    """The metrics of a split: floats, and arrays like `confusion`.

    Args:
      sums: {family: sums, or rows and which of them count; "loss": sums}.
    """
    named = {}
    for name, family in self.families.items():
      plain = name == self.config["metrics"][name]["name"]
      found = dict(sums[name])
      counts = found.pop(COUNTS, None)
      if counts is not None:
        found = {key: rows[counts] for key, rows in found.items()}
      for key, value in family.result(found).items():
        named[key if plain else f"{name}/{key}"] = value
    total, counts = sums["loss"]["sum"], sums["loss"]["count"]
    for name in self.config["terms"]:
      known = counts.get(name, 0)
      named[f"loss/{name}"] = total[name] / known if known else np.nan
    return named
