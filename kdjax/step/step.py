"""The training step and the evaluation step: pure functions of one seed."""

import dataclasses
from collections.abc import Callable, Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from kdjax.errors import UserError
from kdjax.step import state as states
from kdjax.step.addresses import Address, addresses
from kdjax.step.objective import Objective
from kdjax.step.state import Fixed, State
from kdjax.step.terms import Reader
from kdjax.types import Array, Batch, Variables

# The key of the mask of counting rows, next to a metric family's rows.
COUNTS = "counts"

# Random streams of one seed.
INIT, TRAIN = 0, 1


def key_of(seed: Array, stream: int) -> Array:
  """The random key of one of a seed's streams."""
  return jax.random.fold_in(jax.random.key(seed), stream)


@dataclasses.dataclass(frozen=True)
class Family:
  """A metric family as a stage uses it."""

  measured: Callable
  adds: bool  # whether it returns sums; otherwise one row per example
  reads: Mapping[str, Address | tuple[Address, ...]]
  heads: Mapping[str, nn.Module]  # without parameters

  def arguments(self, reader: Reader):
    """Its arguments by name, and bool [B]: which examples count."""
    mask = reader.flow.batch["valid"]
    arrays = {}
    for argument, read in self.reads.items():
      for address in read if isinstance(read, tuple) else (read,):
        mask = mask & reader.present(address)
      arrays[argument] = reader.at(read)
      if argument in self.heads:
        arrays[argument] = self.heads[argument].apply({}, arrays[argument])
    return arrays, mask


def make_train_step(
  objective: Objective,
  optimizer: optax.GradientTransformation,
  *,
  ema_decay: float,
) -> Callable[[State, Fixed, Batch], tuple[State, dict[str, Array]]]:
  """The training step of a stage.

  Args:
    objective: the terms over the networks.
    optimizer: of optax, or `optimizer.Grouped`.
    ema_decay: decay of the moving average of parameters and batch statistics,
      where the state holds one.

  Returns:
    (state, fixed, batch) -> (state, metrics), a pure function; metrics are
    f32 [], over the batch of all devices.

  Raises:
    UserError: a term's group is unknown to the optimizer.
  """

  # Only an optimizer that separates groups of terms has this attribute.
  groups = getattr(optimizer, "groups", ())
  for term in objective.terms if groups else ():
    if term.group not in groups:
      raise UserError(
        f"Term '{term.name}' is in the group '{term.group}', which the "
        "optimizer does not have.",
        exists=groups,
        near=term.group,
      )

  def train_step(state, fixed, batch):
    key = jax.random.fold_in(key_of(state.seed, TRAIN), state.step)
    gradients, collections, recorded = objective.gradients(
      state.params,
      state.collections,
      objective.averaged(fixed, states.evaluated(state)),
      batch,
      key=key,
      step=state.step,
      groups=groups,
    )
    recorded["gradient_norm"] = optax.tree.norm(gradients)
    updates, new = optimizer.update(gradients, state.optimizer, state.params)
    params = optax.apply_updates(state.params, _scaled(updates, fixed))
    average, statistics = state.average, state.statistics
    if average is not None:
      average, statistics = _averaged(state, params, collections, ema_decay)
    state = state.replace(
      step=state.step + 1,
      params=params,
      collections=collections,
      optimizer=new,
      average=average,
      statistics=statistics,
      fault=_watch(state, recorded),
    )
    return state, recorded

  return train_step


def _scaled(updates, fixed: Fixed):
  """Updates at a grid point's learning rate: a factor of the config's."""
  rate = fixed.numbers.get("optimizer")
  if rate is None:
    return updates
  return optax.tree.scale(rate["learning_rate"], updates)


def _averaged(state: State, params, collections, ema_decay: float):
  """The moving averages of parameters and of their batch statistics."""
  # A lower decay in the first steps, so that the initial parameters fade.
  done = state.step.astype(jnp.float32)
  decay = jnp.minimum(ema_decay, (1 + done) / (10 + done))
  return optax.incremental_update(
    (params, states.statistics_of(collections)),
    (state.average, state.statistics),
    1 - decay,
  )


def make_eval_step(
  objective: Objective,
  families: Mapping[str, Family],
) -> Callable[[Mapping, Fixed, Batch], dict]:
  """The evaluation step of a stage.

  Args:
    objective: its terms are evaluated too.
    families: metric families by name.

  Returns:
    (variables, fixed, batch) -> {family: sums}, to be added over batches (or
    rows, to be concatenated, with the mask COUNTS of those that count); "loss"
    holds each term's unweighted "sum" and "count".
  """

  objective = _measurable(objective)

  def eval_step(variables: Mapping[str, Variables], fixed, batch):
    fixed = objective.averaged(fixed, variables)
    reader = objective.reader(objective.flow(variables, fixed, batch))
    sums = {}
    for name, family in families.items():
      try:
        arrays, mask = family.arguments(reader)
      except UserError as error:
        raise UserError(
          f"The metrics '{name}' cannot be computed. {error}",
          "Change the stage's `metrics`, such as to metric('regression').",
        ) from error
      measured = family.measured(**arrays, mask=mask)
      if family.adds:
        sums[name] = objective.sum(measured)
      else:
        sums[name] = objective.gather({**measured, COUNTS: mask})
    values = objective.values(reader, jnp.zeros((), jnp.int32))
    sums["loss"] = {
      "sum": {name: value.mean * value.count for name, value in values.items()},
      "count": {name: value.count for name, value in values.items()},
    }
    return sums

  return eval_step


def training_only(teacher: nn.Module) -> bool:
  """Whether a teacher's outputs exist for training examples only."""
  return getattr(teacher, "training_only", False)


def _measurable(objective: Objective) -> Objective:
  """The objective without terms that read a training-only teacher."""
  teachers = objective.teachers
  unknown = {name for name in teachers if training_only(teachers[name])}
  terms = tuple(
    term
    for term in objective.terms
    if not unknown & {address.network for address in addresses(term.reads)}
  )
  return dataclasses.replace(objective, terms=terms)


def _watch(state: State, recorded: dict[str, Array]) -> states.Fault:
  """The first fault: the recorded one, else this step if it is not finite."""
  finite = jnp.isfinite(recorded["loss"])
  finite = finite & jnp.isfinite(recorded["gradient_norm"])
  first = ~finite & (state.fault.step < 0)
  keep = lambda new, old: jnp.where(first, new, old)
  return states.Fault(
    step=keep(state.step + 1, state.fault.step),
    terms={
      name: keep(recorded[f"loss/{name}"], old)
      for name, old in state.fault.terms.items()
    },
  )
