"""The parts of a training step, as programs each of which does one more.

The time of a part is that of the program which has it less that of the program
before. No program drops what an earlier one did: what later terms will read is
among its results.
"""

import dataclasses
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import optax

from kdjax.bench.trainer import Trainer
from kdjax.step import state as states
from kdjax.step.flow import Address
from kdjax.step.objective import Objective
from kdjax.step.step import TRAIN, key_of
from kdjax.step.terms import Term

# The first: a call which computes nothing.
CALL = "call"

WHOLE = "metrics and state"


def programs(trainer: Trainer) -> dict[str, tuple[Callable, bool]]:
  """Every part, in order, and the program of all up to it.

  Args:
    trainer: a stage; teachers that are beside its step are no part of it.

  Returns:
    part -> (program (state, fixed, batch) -> arrays, whether it donates its
    state: its arrays are then (state, metrics)). The last is the whole step.
  """
  objective = trainer.objective
  found = {CALL: (_nothing(trainer.train_step), True)}
  views = bool(objective.views.pipelines)
  if views:
    found["augmentation"] = _forward(objective, views, ()), False
  running = [name for name in objective.teachers if name not in trainer.given]
  if running:
    found["teachers' forward"] = _forward(objective, views, running), False
  everyone = (*running, *objective.networks)
  found["student's forward"] = _forward(objective, False, everyone), False
  groups = getattr(trainer.stage.optimizer, "groups", ())
  found |= {part: (made, False) for part, made in _backward(objective, groups)}
  found["optimizer"] = _updated(trainer), True
  found[WHOLE] = trainer.train_step, True
  return found


def in_order(objective: Objective) -> tuple[Term, ...]:
  """The terms: those first that read no teacher."""
  reads = lambda term: {
    at.network for argument in term.reads for at in term.addresses(argument)
  }
  taught = lambda term: bool(reads(term) & set(objective.teachers))
  return tuple(sorted(objective.terms, key=taught))


def _nothing(train_step: Callable) -> Callable:
  """What is called as the step is and gives as much, and computes nothing."""

  def nothing(state, fixed, batch):
    _, recorded = jax.eval_shape(train_step, state, fixed, batch)
    zeros = lambda leaf: jnp.zeros(leaf.shape, leaf.dtype)
    return state.replace(step=state.step + 1), jax.tree.map(zeros, recorded)

  return nothing


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
  """What terms read of some networks' outputs."""
  return [
    at
    for at in dataclasses.replace(objective, terms=terms).addresses
    if at.network in names and not at.output.startswith("params/")
  ]


def _forward(objective: Objective, views: bool, names) -> Callable:
  """What terms read of some networks.

  Args:
    objective: of the stage.
    views: whether what augmentation makes is given too.
    names: of networks and teachers.
  """

  def forward(state, fixed, batch):
    flow = _flow(objective, state, fixed, batch, state.params)
    addresses = _read(objective, objective.terms, names)
    found = {str(at): flow[at] for at in addresses}
    new = lambda key: flow.batch[key] is not batch.get(key)
    viewed = {key: flow.batch[key] for key in flow.batch if new(key)}
    return found, flow.collections, viewed if views else ()

  return forward


def _backward(objective: Objective, groups) -> Iterator[tuple[str, Callable]]:
  """Part -> gradients of the terms up to it."""
  terms = in_order(objective)
  for place, term in enumerate(terms):
    done, rest = terms[:place], terms[place + 1 :]
    first = "" if place else "backward, with "
    if term.heads:
      plain = (*done, _of_heads(term))
      yield f"{first}heads of {term.name}", _partial(objective, plain, rest)
      first = ""
    made = _partial(objective, (*done, term), rest)
    last = lambda state, fixed, batch: _gradients(
      objective, groups, state, fixed, batch
    )
    yield f"{first}{term.name}", made if rest else last


def _partial(objective: Objective, terms, rest) -> Callable:
  """Gradients of some terms, and what the rest will read."""
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

    found, more = jax.grad(total, has_aux=True)(state.params)
    return objective.sum(found), more

  return gradients


def _gradients(objective: Objective, groups, state, fixed, batch):
  """Of all terms, as the step has them."""
  return objective.gradients(
    state.params,
    state.collections,
    objective.averaged(fixed, states.evaluated(state)),
    batch,
    key=jax.random.fold_in(key_of(state.seed, TRAIN), state.step),
    step=state.step,
    groups=groups,
  )


def _of_heads(term: Term) -> Term:
  """A term whose loss is the mean square of all that it is given."""

  def squares(**given):
    leaves = [jnp.asarray(leaf) for leaf in jax.tree.leaves(given)]
    return sum(
      jnp.mean(leaf.astype(jnp.float32) ** 2)
      for leaf in leaves
      if jnp.issubdtype(leaf.dtype, jnp.floating)
    )

  return dataclasses.replace(term, loss=squares, options={}, takes_mask=False)


def _updated(trainer: Trainer) -> Callable:
  """The step without its average, its norm and its watch over faults."""
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
