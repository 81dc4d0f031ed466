"""The parts of a training step, as programs with one more part each.

The time of a part is the time of the first program with it minus that of the
program before. Every program also returns what later terms read, so that XLA
does not remove its computation.
"""

import dataclasses
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import optax

from kdjax.bench.trainer import Trainer
from kdjax.step import state as states
from kdjax.step.addresses import Address
from kdjax.step.objective import Objective
from kdjax.step.step import TRAIN, key_of
from kdjax.step.terms import Term

# The first program: a call that computes nothing.
CALL = "call"

WHOLE = "metrics and state"


def programs(trainer: Trainer) -> dict[str, tuple[Callable, bool]]:
  """The parts in order, each with the program of all parts up to it.

  Args:
    trainer: a stage; its precomputed teachers are no part of the step.

  Returns:
    part -> (program (state, fixed, batch) -> arrays, whether it donates its
    state and returns (state, metrics)). The last program is the whole step.
  """
  objective = trainer.objective
  parts = {CALL: (_empty(trainer.train_step), True)}
  views = bool(objective.views.pipelines)
  if views:
    parts["augmentation"] = _forward(objective, views, ()), False
  running = [
    name for name in objective.teachers if name not in trainer.precomputed
  ]
  if running:
    parts["teachers' forward"] = _forward(objective, views, running), False
  networks = (*running, *objective.networks)
  parts["student's forward"] = _forward(objective, False, networks), False
  groups = getattr(trainer.stage.optimizer, "groups", ())
  parts |= {part: (step, False) for part, step in _backward(objective, groups)}
  parts["optimizer"] = _updated(trainer), True
  parts[WHOLE] = trainer.train_step, True
  return parts


def in_order(objective: Objective) -> tuple[Term, ...]:
  """The terms, those that read no teacher first."""
  reads = lambda term: {
    at.network for argument in term.reads for at in term.addresses(argument)
  }
  reads_teacher = lambda term: bool(reads(term) & set(objective.teachers))
  return tuple(sorted(objective.terms, key=reads_teacher))


def _empty(train_step: Callable) -> Callable:
  """A function with the step's arguments and results that computes nothing."""

  def empty(state, fixed, batch):
    _, recorded = jax.eval_shape(train_step, state, fixed, batch)
    zeros = lambda leaf: jnp.zeros(leaf.shape, leaf.dtype)
    return state.replace(step=state.step + 1), jax.tree.map(zeros, recorded)

  return empty


def _flow(objective: Objective, state, fixed, batch, params):
  """The flow of a training step."""
  return objective.flow(
    states.join(params, state.collections),
    objective.averaged(fixed, states.evaluated(state)),
    batch,
    key=jax.random.fold_in(key_of(state.seed, TRAIN), state.step),
    train=True,
  )


def _read(objective: Objective, terms, names) -> list[Address]:
  """The outputs of some networks that terms read."""
  return [
    at
    for at in dataclasses.replace(objective, terms=terms).addresses
    if at.network in names and not at.output.startswith("params/")
  ]


def _forward(objective: Objective, views: bool, names) -> Callable:
  """A program that returns the outputs of some networks that terms read.

  Args:
    objective: of the stage.
    views: whether it also returns the augmented views.
    names: of networks and teachers.
  """

  def forward(state, fixed, batch):
    flow = _flow(objective, state, fixed, batch, state.params)
    addresses = _read(objective, objective.terms, names)
    outputs = {str(address): flow[address] for address in addresses}
    new = lambda key: flow.batch[key] is not batch.get(key)
    viewed = {key: flow.batch[key] for key in flow.batch if new(key)}
    return outputs, flow.collections, viewed if views else ()

  return forward


def _backward(objective: Objective, groups) -> Iterator[tuple[str, Callable]]:
  """Yields (part, program of the gradients of the terms up to it)."""
  terms = in_order(objective)
  for number, term in enumerate(terms):
    done, rest = terms[:number], terms[number + 1 :]
    first = "" if number else "backward, with "
    if term.heads:
      with_heads = (*done, _heads_only(term))
      part = f"{first}heads of {term.name}"
      yield part, _partial(objective, with_heads, rest)
      first = ""
    partial = _partial(objective, (*done, term), rest)
    last = lambda state, fixed, batch: _gradients(
      objective, groups, state, fixed, batch
    )
    yield f"{first}{term.name}", partial if rest else last


def _partial(objective: Objective, terms, rest) -> Callable:
  """The gradients of some terms, and the outputs that the others read."""
  some = dataclasses.replace(objective, terms=terms)
  names = (*objective.networks, *objective.teachers)

  def gradients(state, fixed, batch):
    def total(params):
      flow = _flow(objective, state, fixed, batch, params)
      values = some.values(objective.reader(flow), state.step)
      waiting = [flow[at] for at in _read(objective, rest, names)]
      parts = [value.weight * value.part for value in values.values()]
      means = {name: value.mean for name, value in values.items()}
      return sum(parts), (flow.collections, means, waiting)

    local, aux = jax.grad(total, has_aux=True)(state.params)
    return objective.sum(local), aux

  return gradients


def _gradients(objective: Objective, groups, state, fixed, batch):
  """The gradients of all terms, as in the step."""
  return objective.gradients(
    state.params,
    state.collections,
    objective.averaged(fixed, states.evaluated(state)),
    batch,
    key=jax.random.fold_in(key_of(state.seed, TRAIN), state.step),
    step=state.step,
    groups=groups,
  )


def _heads_only(term: Term) -> Term:
  """A term with the same heads and the mean square of its inputs as loss."""

  def squares(**arguments):
    leaves = [jnp.asarray(leaf) for leaf in jax.tree.leaves(arguments)]
    return sum(
      jnp.mean(leaf.astype(jnp.float32) ** 2)
      for leaf in leaves
      if jnp.issubdtype(leaf.dtype, jnp.floating)
    )

  return dataclasses.replace(term, loss=squares, options={}, takes_mask=False)


def _updated(trainer: Trainer) -> Callable:
  """The step without its average, gradient norm and check for NaN."""
  rule = trainer.stage.optimizer
  groups = getattr(rule, "groups", ())

  def step(state, fixed, batch):
    gradients, collections, recorded = _gradients(
      trainer.objective, groups, state, fixed, batch
    )
    updates, new = rule.update(gradients, state.optimizer, state.params)
    return state.replace(
      step=state.step + 1,
      params=optax.apply_updates(state.params, updates),
      collections=collections,
      optimizer=new,
    ), recorded

  return step
