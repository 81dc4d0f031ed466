"""A stage of an experiment: what trains, on what, and how it is measured."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from kdjax import rooms, schedules
from kdjax import state as states
from kdjax.errors import UserError
from kdjax.flow import Address
from kdjax.objective import Objective
from kdjax.state import Fixed, State
from kdjax.step import INIT, Family, key_of
from kdjax.terms import HEADS
from kdjax.types import Source, Spec

# Keys of a data set's config that are not options of its `load`.
DATA_KEYS = ("name", "labelled_fraction")


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

  @property
  def maximise(self) -> bool:
    """Whether more of the selecting metric is better."""
    return self.config["select_mode"] == "max"

  def load(self, split: str, seed: int | None = None) -> Source:
    """A split of the stage's data."""
    data = self.config["data"]
    source = rooms.find("data", data["name"])
    return source.load(split, seed, **without(data, DATA_KEYS))

  def example(self) -> dict[str, np.ndarray]:
    """A batch of one, of zeros."""
    batch = {
      key: np.zeros((1, *leaf.shape), leaf.dtype)
      for key, leaf in self.spec.items()
    }
    return {**batch, "valid": np.ones(1, bool)}

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

  def fixed(self, teachers: Mapping[str, Any]) -> Fixed:
    """What a seed's steps read and never change."""
    return Fixed(
      teachers=dict(teachers),
      numbers={
        name: {key: jnp.float32(value) for key, value in numbers.items()}
        for name, numbers in numbers_of(self.config["terms"]).items()
      },
    )

  def weights(self, step: int) -> dict[str, float]:
    """Every term's weight at a step."""
    return {
      name: float(schedules.make(term["weight"], self.config["steps"])(step))
      for name, term in self.config["terms"].items()
    }

  def trace(self) -> None:
    """Runs the whole flow on shapes alone, so that mistakes cost nothing.

    Raises:
      UserError: an address, a modality or a shape does not fit.
    """
    fixed = jax.eval_shape(self.fixed, self.teacher_shapes())
    state = jax.eval_shape(self.init, 0, fixed)
    size = self.config["batch_size"]
    batch = {
      key: jax.ShapeDtypeStruct((size, *leaf.shape[1:]), leaf.dtype)
      for key, leaf in self.example().items()
    }
    self._check_classes(state, fixed, batch)
    jax.eval_shape(self.train_step, state, fixed, batch)
    sums = jax.eval_shape(self.eval_step, states.evaluated(state), fixed, batch)
    select = self.config["select"]
    sums = jax.tree.map(lambda leaf: np.zeros(leaf.shape), sums)
    known = [
      name for name, value in self.results(sums).items() if np.ndim(value) == 0
    ]
    if select not in known:
      raise UserError(
        f"No metric '{select}' to select by.", exists=known, near=select
      )

  def _check_classes(self, state: State, fixed: Fixed, batch: Spec) -> None:
    """Raises `UserError` for logits that lack some of the data's classes."""
    data = self.config["data"]
    source = rooms.find("data", data["name"])
    if not hasattr(source, "class_names"):
      return
    classes = len(source.class_names(**without(data, DATA_KEYS)))
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
          f"'{read.network}'; the labels of '{data['name']}' are {classes}.",
          "Expected as many (num_classes).",
        )

  def results(self, sums: Mapping[str, Any]) -> dict[str, Any]:
    """The metrics of sums over a split: floats, and arrays like `confusion`."""
    named = {}
    for name, family in self.families.items():
      plain = name == self.config["metrics"][name]["name"]
      for key, value in family.result(sums[name]).items():
        named[key if plain else f"{name}/{key}"] = value
    for name, total in sums["loss"]["sum"].items():
      count = sums["loss"]["count"][name]
      named[f"loss/{name}"] = total / count if count else np.nan
    return named


def numbers_of(terms: Mapping[str, Mapping]) -> dict[str, dict[str, float]]:
  """Weights and float options: what enters the step as arrays."""
  return {
    name: {
      key: value for key, value in term.items() if isinstance(value, float)
    }
    for name, term in terms.items()
  }


def without(mapping: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
  """A mapping less some of its keys."""
  return {key: value for key, value in mapping.items() if key not in keys}
