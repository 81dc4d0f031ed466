"""A stage of an experiment: its networks, data, training step and metrics."""

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
from kdjax.feed import buckets as bucketing
from kdjax.feed.index_stream import TrainFeed
from kdjax.stage import grids, once_sources, statistics
from kdjax.stage.once import Once
from kdjax.stage.seeds import seed_draws
from kdjax.step import parts, schedules
from kdjax.step import state as states
from kdjax.step.objective import Objective
from kdjax.step.state import Fixed, State
from kdjax.step.step import COUNTS, INIT, Family, key_of, make_eval_step
from kdjax.step.views import Corruption
from kdjax.types import Source, Spec


@dataclasses.dataclass(frozen=True)
class Stage:
  """One training run, ready to be placed on devices."""

  name: str
  config: Mapping[str, Any]  # of this stage, with the merged data options
  objective: Objective
  optimizer: optax.GradientTransformation
  families: Mapping[str, Any]  # name -> module of metrics
  measured: Mapping[str, Family]  # name -> metrics with their addresses
  spec: Spec  # of an example after `once`
  once: Once
  train_step: Callable
  eval_step: Callable
  corruptions: Mapping[str, Corruption]
  # teacher -> its classes, of those that were trained on other data
  teacher_classes: Mapping[str, tuple[str, ...]]

  @property
  def maximise(self) -> bool:
    """Whether a larger value of the metric `select` is better."""
    return self.config["select_mode"] == "max"

  @property
  def splits(self) -> tuple[str, ...]:
    """The splits that a run of the stage may read."""
    return ("train", "validation", *["test"] * self.config["test"])

  def load(self, split: str, seed: int | None = None) -> Source:
    """Loads a split of the stage's data."""
    source = self.dataset.load(split, seed, **self.data_options)
    return once_sources.transformed(source, self.once)

  def load_per_seed(self, split: str, seeds: Sequence[int]) -> list[Source]:
    """A split for each seed; one object if it does not depend on the seed."""
    if seed_draws(self.dataset, self.data_options) == "none":
      return [self.load(split)] * len(seeds)
    sources = {seed: self.load(split, seed) for seed in dict.fromkeys(seeds)}
    return [sources[seed] for seed in seeds]

  def load_for_evaluation(self, split: str, seeds: Sequence[int]):
    """A split to evaluate on: [one for all seeds], or one for each seed."""
    if seed_draws(self.dataset, self.data_options) == "all":
      return self.load_per_seed(split, seeds)
    return [self.load(split)]

  @property
  def dataset(self) -> Any:
    """The module of the data set, a file of `kdjax/data`."""
    return registry.find("data", self.config["data"]["name"])

  @property
  def data_options(self) -> dict[str, Any]:
    """The options of the data set's `load`."""
    return fields.without(self.config["data"], fields.RESERVED["data"])

  def class_names(self) -> tuple[str, ...]:
    """The names of the data's classes; () where labels are no classes."""
    names = getattr(self.dataset, "class_names", lambda **_: ())
    return tuple(names(**self.data_options))

  def label_names(self) -> dict[str, tuple[str, ...]]:
    """The names of the classes of each label: {"label/kind": names}.

    Without those of the label "label", which are `class_names`.
    """
    names = getattr(self.dataset, "label_names", lambda **_: {})
    found = names(**self.data_options)
    return {key: tuple(found[key]) for key in found if key != "label"}

  def train_feeds(self, seeds: Sequence[int]) -> list[TrainFeed]:
    """The order in which each seed sees the training examples."""
    sources = dict(zip(seeds, self.load_per_seed("train", seeds), strict=True))
    feeds = {seed: self.train_feed(sources[seed], seed) for seed in sources}
    return [feeds[seed] for seed in seeds]

  def train_feed(self, source: Source, seed: int) -> TrainFeed:
    """The order in which a seed sees the examples of a source."""
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
    """A batch of one example, all zeros."""
    batch = {
      key: np.zeros((1, *leaf.shape), leaf.dtype)
      for key, leaf in self.spec.items()
    }
    return {**batch, "view": np.zeros(1, np.int32), "valid": np.ones(1, bool)}

  @property
  def partners(self) -> tuple[str, ...]:
    """The keys for which a training batch holds a second example, to mix."""
    return self.objective.views.partners(self.spec)

  @property
  def buckets(self) -> dict[str, tuple[int, ...]]:
    """Modality -> the lengths to which its texts are cut."""
    return bucketing.complete(self.config["data"]["buckets"], self.spec)

  def init(
    self,
    seed: int | jax.Array,
    fixed: Fixed,
    initial: Mapping[str, Any] | None = None,
  ) -> State:
    """A seed's state before its first step.

    Args:
      seed: i32 [].
      fixed: the seed's teachers and numbers.
      initial: {"networks": {name: variables}, "heads": {name: variables}} that
        replace fresh ones; of some parts or of all.
    """
    key = key_of(seed, INIT)
    variables = self.objective.init(key, fixed, self.example())
    for kind, trees in (initial or {}).items():
      for name, tree in trees.items():
        variables[kind][name] = parts.merged(variables[kind][name], tree)
    variables = parts.without_still(variables, self.objective.still)
    adapted, held = self.objective.adapted, self.still_shapes()
    variables = parts.with_adapters(variables, held, adapted, key)
    return states.create(
      seed,
      variables,
      self.optimizer,
      tuple(term.name for term in self.objective.terms),
      average=self.config["ema_decay"] > 0,
      maximise=self.maximise,
    )

  def teacher_shapes(self) -> dict[str, Any]:
    """The shapes of every teacher's variables."""
    return dict(self._teacher_shapes)

  @functools.cached_property
  def _teacher_shapes(self) -> dict[str, Any]:
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

  def network_shapes(self) -> dict[str, Any]:
    """The shapes of every trained network's variables, still ones included."""
    return dict(self._network_shapes)

  @functools.cached_property
  def _network_shapes(self) -> dict[str, Any]:
    fixed = jax.eval_shape(self.fixed, self.teacher_shapes())
    init = lambda fixed: self.objective.init(
      jax.random.key(0), fixed, self.example()
    )
    return jax.eval_shape(init, fixed)["networks"]

  def still_shapes(self) -> dict[str, Any]:
    """The shapes of what is held still, by their keys in `Fixed.teachers`."""
    found = {}
    for name, held in self.objective.still.items():
      still = parts.split(self._network_shapes[name], held)[1]
      for path in parts.paths_of(self.objective.teachers, name).values():
        still = parts.without(still, path)
      found |= {f"{parts.STILL}{name}": still} if held else {}
    return found

  def data_statistics(self, seed: int | None = None) -> dict[str, np.ndarray]:
    """Statistics of the training data that steps read at `data/..`.

    Args:
      seed: its training examples are used; None gives values for the shapes.
    """
    objective, found = self.objective, {}
    classes = len(self.class_names()) if objective.reads_data else 0
    networks = objective.networks.values()
    imputed = statistics.imputed(self.config, networks, self.spec)
    source = None
    if seed is not None and (classes or imputed):
      source = self.load("train", seed)
    if classes:
      labels = None if source is None else source.labels
      found["class_count"] = statistics.class_count(labels, classes)
    if imputed:
      example = self.example()
      found |= statistics.means(objective.views, example, source, imputed)
    return found

  def fixed(
    self,
    teachers: Mapping[str, Any],
    data: Mapping[str, Any] | None = None,
  ) -> Fixed:
    """The arrays that a seed's steps read and never change.

    Args:
      teachers: name -> variables.
      data: from `data_statistics`; None gives values for the shapes.
    """
    return Fixed(
      teachers=dict(teachers),
      data=dict(self.data_statistics() if data is None else data),
      numbers=jax.tree.map(jnp.float32, grids.numbers_of_stage(self.config)),
    )

  def weights(self, step: int) -> dict[str, float]:
    """The weight of every term at a step."""
    return {
      name: float(schedules.make(term["weight"], self.config["steps"])(step))
      for name, term in self.config["terms"].items()
    }

  def shapes(self) -> tuple[State, Fixed, Spec]:
    """The shapes of a state, of `fixed`, and of a batch."""
    state, fixed = self._state_shapes
    size = self.config["batch_size"]
    batch = {
      key: jax.ShapeDtypeStruct((size, *leaf.shape[1:]), leaf.dtype)
      for key, leaf in self.example().items()
    }
    return state, fixed, batch

  @functools.cached_property
  def _state_shapes(self) -> tuple[State, Fixed]:
    held = {**self.teacher_shapes(), **self.still_shapes()}
    fixed = jax.eval_shape(self.fixed, held)
    return jax.eval_shape(self.init, 0, fixed), fixed

  def corrupted(self, name: str) -> "Stage":
    """The stage with one of its corruptions in its evaluation step."""
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
    """The metrics of a split: floats, and arrays such as `confusion`.

    Args:
      sums: {family: sums, or rows and a mask of them; "loss": sums}.
    """
    named = {}
    for name, family in self.families.items():
      plain = name == self.config["metrics"][name]["name"]
      arrays = dict(sums[name])
      counts = arrays.pop(COUNTS, None)
      if counts is not None:
        arrays = {key: rows[counts] for key, rows in arrays.items()}
      for key, value in family.result(arrays).items():
        named[key if plain else f"{name}/{key}"] = value
    total, counts = sums["loss"]["sum"], sums["loss"]["count"]
    for name in self.config["terms"]:
      known = counts.get(name, 0)
      named[f"loss/{name}"] = total[name] / known if known else np.nan
    return named
