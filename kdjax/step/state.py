"""What a run carries from step to step, for one seed."""

import dataclasses
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

from kdjax.types import Array, Variables


@flax.struct.dataclass
class Best:
  """The best variables so far, by a metric on validation."""

  variables: dict[str, dict[str, Variables]]  # as of `evaluated`
  value: Array  # f32 []; -inf (or inf, where less is better) before the first
  step: Array  # i32 []


@flax.struct.dataclass
class Fault:
  """The first step whose loss or gradient was not finite."""

  step: Array  # i32 []; -1: none
  terms: dict[str, Array]  # f32 []: every term's value there


@flax.struct.dataclass
class State:
  """All that training changes, of one seed.

  Randomness is folded from (seed, step) and the data's position is the step,
  so that this is all that a checkpoint holds.
  """

  seed: Array  # i32 []
  step: Array  # i32 []: steps done
  params: dict[str, dict[str, Any]]  # {"networks": .., "heads": ..}
  collections: dict[str, dict[str, Any]]  # likewise: batch statistics, memories
  optimizer: optax.OptState
  average: Any  # of `params`, where the stage averages; else None
  best: Best
  fault: Fault


@flax.struct.dataclass
class Fixed:
  """What the step reads and never changes: never donated, never saved."""

  teachers: dict[str, Variables]
  # f32 []: weights and float options by term, so that changing one compiles
  # nothing anew.
  numbers: dict[str, dict[str, Array]]
  # Of the training data: {"class_count": f32 [K]}, where a term reads it.
  data: dict[str, Array] = dataclasses.field(default_factory=dict)


def split(variables: Variables) -> tuple[Any, dict[str, Any]]:
  """A network's variables as (params, everything else)."""
  rest = {key: value for key, value in variables.items() if key != "params"}
  return variables.get("params", {}), rest


def merge(params: Any, collections: dict[str, Any]) -> Variables:
  """The variables that `Module.apply` takes."""
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
    optimizer: whose state is made.
    terms: names, for the record of a fault.
    average: whether an average of the parameters is kept.
    maximise: whether more of the selecting metric is better.
  """
  params = {
    kind: {name: split(tree)[0] for name, tree in trees.items()}
    for kind, trees in variables.items()
  }
  collections = {
    kind: {name: split(tree)[1] for name, tree in trees.items()}
    for kind, trees in variables.items()
  }
  # Each leaf its own buffer: a donated state must not hold one twice.
  copy = lambda tree: jax.tree.map(jnp.copy, tree)
  return State(
    seed=jnp.asarray(seed, jnp.int32),
    step=jnp.zeros((), jnp.int32),
    params=params,
    collections=collections,
    optimizer=optimizer.init(params),
    average=copy(params) if average else None,
    best=Best(
      # As `evaluated` has them: with {"params": {}} of what has none.
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
  """{kind: {name: variables}} of {kind: {name: params}} and the rest."""
  return {
    kind: {
      name: merge(tree, collections[kind][name]) for name, tree in trees.items()
    }
    for kind, trees in params.items()
  }


def evaluated(state: State) -> dict[str, dict[str, Variables]]:
  """The variables that are evaluated: averaged ones where there are any."""
  params = state.params if state.average is None else state.average
  return join(params, state.collections)


def keep_best(state: State, value: Array, *, maximise: bool) -> State:
  """The state, its best variables replaced if `value` (f32 []) is better."""
  better = value > state.best.value if maximise else value < state.best.value
  pick = lambda new, old: jnp.where(better, new, old)
  return state.replace(
    best=Best(
      variables=jax.tree.map(pick, evaluated(state), state.best.variables),
      value=pick(value, state.best.value),
      step=pick(state.step, state.best.step),
    )
  )
