"""The training state of one seed, carried from step to step."""

import dataclasses
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax

from kdjax.types import Array, Variables

# The collection of Flax's batch normalization: running means and variances.
STATISTICS = "batch_stats"


@flax.struct.dataclass
class Best:
  """The best variables so far, by a validation metric."""

  variables: dict[str, dict[str, Variables]]  # as returned by `evaluated`
  value: Array  # f32 []; -inf (inf where lower is better) before the first
  step: Array  # i32 []


@flax.struct.dataclass
class Fault:
  """The first step at which the loss or the gradient was not finite."""

  step: Array  # i32 []; -1: none
  terms: dict[str, Array]  # f32 []: every term's value at that step


@flax.struct.dataclass
class State:
  """All that training changes for one seed.

  A checkpoint holds nothing else: random keys are folded from (seed, step), and
  the position in the data is the step.
  """

  seed: Array  # i32 []
  step: Array  # i32 []: number of completed steps
  params: dict[str, dict[str, Any]]  # {"networks": .., "heads": ..}
  collections: dict[str, dict[str, Any]]  # batch statistics, heads' memories
  optimizer: optax.OptState
  average: Any  # moving average of `params` where the stage has one, else None
  # That of the batch statistics in `collections`; None without an average.
  statistics: Any
  best: Best
  fault: Fault


@flax.struct.dataclass
class Fixed:
  """Inputs of the step that it never changes; not donated, not saved."""

  teachers: dict[str, Variables]
  # f32 []: weights and float options by term, as arrays so that a changed value
  # does not recompile the step; the factor of the learning rate by "optimizer",
  # where a grid has several.
  numbers: dict[str, dict[str, Array]]
  # Training data statistics: {"class_count": f32 [K]}, where a term reads it.
  data: dict[str, Array] = dataclasses.field(default_factory=dict)


def split(variables: Variables) -> tuple[Any, dict[str, Any]]:
  """A network's variables as (params, everything else)."""
  rest = {key: value for key, value in variables.items() if key != "params"}
  return variables.get("params", {}), rest


def merge(params: Any, collections: dict[str, Any]) -> Variables:
  """The variables in the form that `Module.apply` expects."""
  return {"params": params, **collections}


def create(
  seed: Array,
  variables: dict[str, dict[str, Variables]],
  optimizer: optax.GradientTransformation,
  terms: tuple[str, ...],
  *,
  average: bool,
  maximise: bool,
) -> State:
  """The state before the first step.

  Args:
    seed: i32 [].
    variables: {"networks": {name: variables}, "heads": {name: variables}}.
    optimizer: of the stage.
    terms: names of the terms, for `Fault`.
    average: whether to keep a moving average of parameters and statistics.
    maximise: whether a higher value of the selecting metric is better.
  """
  params = {
    kind: {name: split(tree)[0] for name, tree in trees.items()}
    for kind, trees in variables.items()
  }
  collections = {
    kind: {name: split(tree)[1] for name, tree in trees.items()}
    for kind, trees in variables.items()
  }
  # A donated state must not hold a buffer twice.
  copy = lambda tree: jax.tree.map(jnp.copy, tree)
  return State(
    seed=jnp.asarray(seed, jnp.int32),
    step=jnp.zeros((), jnp.int32),
    params=params,
    collections=collections,
    optimizer=optimizer.init(params),
    average=copy(params) if average else None,
    statistics=copy(statistics_of(collections)) if average else None,
    best=Best(
      # In the structure of `evaluated`: {"params": {}} where there are none.
      variables=copy(join(params, collections)),
      value=jnp.float32(-jnp.inf if maximise else jnp.inf),
      step=jnp.zeros((), jnp.int32),
    ),
    fault=Fault(
      step=jnp.full((), -1, jnp.int32),
      terms={name: jnp.zeros((), jnp.float32) for name in terms},
    ),
  )


def join(params: Any, collections: Any) -> dict[str, dict[str, Variables]]:
  """{kind: {name: variables}} from params and collections of that form."""
  return {
    kind: {
      name: merge(tree, collections[kind][name]) for name, tree in trees.items()
    }
    for kind, trees in params.items()
  }


def statistics_of(collections: Any) -> Any:
  """The batch statistics among collections: {kind: {name: {STATISTICS: ..}}}.

  Heads' memories are no statistics.
  """
  return {
    kind: {
      name: {key: tree for key, tree in held.items() if key == STATISTICS}
      for name, held in trees.items()
    }
    for kind, trees in collections.items()
  }


def evaluated(state: State) -> dict[str, dict[str, Variables]]:
  """The variables used for evaluation: averaged ones if the stage has them."""
  if state.average is None:
    return join(state.params, state.collections)
  collections = {
    kind: {
      name: {**held, **state.statistics[kind][name]}
      for name, held in trees.items()
    }
    for kind, trees in state.collections.items()
  }
  return join(state.average, collections)


def without_best(state: State, maximise: bool) -> State:
  """The state as before its first evaluation, on the host."""
  value = np.float32(-np.inf if maximise else np.inf)
  best = state.best.replace(value=value, step=np.int32(0))
  return state.replace(best=best)


def keep_best(state: State, value: Array, *, maximise: bool) -> State:
  """The state, with `best` replaced if `value` (f32 []) is better."""
  better = value > state.best.value if maximise else value < state.best.value
  pick = lambda new, old: jnp.where(better, new, old)
  return state.replace(
    best=Best(
      variables=jax.tree.map(pick, evaluated(state), state.best.variables),
      value=pick(value, state.best.value),
      step=pick(state.step, state.best.step),
    )
  )
