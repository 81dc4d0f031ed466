"""Why the first step of a stage is not finite, found on the host.

The first batch is read again with the initial variables. The first of these
that is not finite is named: an option, an input, the weights of a network, an
argument of a term, the value of a term, its gradient.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kdjax.feed.index_stream import TrainFeed
from kdjax.stage.stage import Stage
from kdjax.step import calls
from kdjax.step import state as states
from kdjax.step.reduction import counted, is_whole
from kdjax.step.state import Fixed
from kdjax.step.step import TRAIN, key_of
from kdjax.step.terms import Reader, Term
from kdjax.training.placed import PlacedStage
from kdjax.training.term_faults import (
  Examples,
  first_place,
  in_arguments,
  in_gradients,
)

# Inputs above this are given as a reason.
LARGE = 1e4


class FirstStep:
  """Explains a first step of a stage that is not finite.

  Args:
    placed: the stage, its seeds and fixed arrays.
    orders: the training examples of each state, in order.
    initial: variables to start from, of each state.
  """

  def __init__(
    self,
    placed: PlacedStage,
    orders: Sequence[TrainFeed],
    initial: Sequence[Mapping[str, Any]],
  ):
    self.stage, self.seeds = placed.stage, placed.seeds
    self.fixed, self.orders, self.initial = placed.fixed, orders, initial

  def explain(self, position: int) -> str:
    """The first cause that is found, as a sentence; "" if none is.

    Args:
      position: of the state among those of the stage.
    """
    try:
      return next(self._causes(position), "")
    except Exception as error:  # it must not hide the error that is explained
      return f"The first batch could not be read again: {error}"

  def _causes(self, position: int) -> Iterator[str]:
    stage, fixed = self.stage, self.fixed[position]
    seed, initial = self.seeds[position], self.initial[position]
    batch = self.orders[position].batch(0)
    names = Examples(batch, stage.class_names())
    yield from _options(stage, fixed)
    yield from _inputs(_read(stage, batch), names)
    state = jax.jit(stage.init)(seed, fixed, initial)
    variables = states.join(state.params, state.collections)
    for kind, trees in (("teacher", fixed.teachers), *variables.items()):
      yield from _weights(kind.removesuffix("s"), trees)
    seen, terms = _evaluate(stage, fixed, variables, batch, seed)
    seen = _read(stage, seen)
    yield from _inputs(seen, names, " after its pipeline")
    for term in stage.objective.terms:
      yield from in_arguments(term, *terms[term.name], names)
      yield from in_gradients(term, *terms[term.name][2:])
    yield from _large(seen, names)


def _options(stage: Stage, fixed: Fixed) -> Iterator[str]:
  """Weights and options of terms that are not finite."""
  for term in stage.objective.terms:
    numbers = calls.numbers(term, fixed, 0)
    for name, value in (numbers | dict(term.options)).items():
      values = value if isinstance(value, tuple) else (value,)
      bad = [it for it in values if not _is_finite(it)]
      if bad:
        yield f"The option '{name}' of the term '{term.name}' is {bad[0]}."


def _is_finite(value: Any) -> bool:
  array = np.asarray(value)
  return array.dtype.kind != "f" or bool(np.all(np.isfinite(array)))


def _read(stage: Stage, batch: Mapping[str, Any]) -> dict[str, np.ndarray]:
  """The arrays of a batch that networks or terms read, and their masks."""
  objective = stage.objective
  modules = (*objective.networks.values(), *objective.teachers.values())
  read = {key for module in modules for key in module.reads}
  read |= {at.output for at in objective.addresses if at.network == "batch"}
  name = lambda key: key.removeprefix("partner/").partition("@")[0]
  return {
    key: np.asarray(array)
    for key, array in batch.items()
    if name(key) in read or key == "valid" or key.startswith("has/")
  }


def _inputs(
  batch: Mapping[str, np.ndarray], names: Examples, after: str = ""
) -> Iterator[str]:
  """Inputs and targets of the batch that are not finite."""
  for key, array in batch.items():
    counts = np.asarray(batch["valid"])
    if f"has/{key}" in batch:
      counts = counts & batch[f"has/{key}"]
    found = first_place(array, counts)
    if found:
      row, *place = found
      where = f" at {[*map(int, place)]}" if place else ""
      yield (
        f"The input 'batch/{key}' of {names.example(row)} is"
        f" {array[tuple(found)]}{where}{after}. Correct"
        f" {'the transforms' if after else 'or remove the example'}."
      )


def _large(batch: Mapping[str, np.ndarray], names: Examples) -> Iterator[str]:
  """The largest input, where it may be why a gradient is not finite."""
  rows = np.asarray(batch["valid"])
  sizes = {}
  for key, array in batch.items():
    if array.dtype.kind == "f" and array[rows].size:
      size = np.abs(array).reshape(len(rows), -1).max(axis=1)
      row = int(np.argmax(np.where(rows, size, -1.0)))
      sizes[key] = float(size[row]), row
  if sizes:
    key, (size, row) = max(sizes.items(), key=lambda item: item[1][0])
    if size > LARGE:
      yield (
        "Its terms are finite, and the gradient of a network is not. The"
        f" largest input is {size:.3g}, in 'batch/{key}' of"
        f" {names.example(row)}. Scale the inputs, by a pipeline such as"
        " 'normalize'."
      )


def _weights(kind: str, trees: Mapping[str, Any]) -> Iterator[str]:
  """Networks, heads and teachers whose variables are not finite."""
  for name, tree in trees.items():
    for path, leaf in jax.tree.leaves_with_path(tree):
      bad = ~np.isfinite(np.asarray(leaf, np.float32))
      if np.any(bad):
        place = "/".join(str(getattr(step, "key", step)) for step in path)
        yield (
          f"The {kind} '{name}' starts with weights that are not finite:"
          f" '{place}', {int(bad.sum())} of {bad.size} numbers. Train it again,"
          " or correct the file that it was read from."
        )


def _evaluate(stage: Stage, fixed, variables, batch, seed) -> tuple[dict, dict]:
  """Step 1 on one device, with the whole batch.

  Returns:
    The batch after its pipelines; and term -> (arguments, mask, values,
    gradients by argument).
  """
  objective = stage.objective
  key = jax.random.fold_in(key_of(seed, TRAIN), 0)

  def run(batch):
    averaged = objective.averaged(fixed, variables)
    flow = objective.flow(variables, averaged, batch, key=key, train=True)
    reader = objective.reader(flow)
    results = {term.name: _of_term(term, reader) for term in objective.terms}
    return flow.batch, results

  batch = {name: jnp.asarray(array) for name, array in batch.items()}
  if objective.axis_name is None:
    return jax.device_get(jax.jit(run)(batch))
  run = jax.jit(jax.vmap(run, axis_name=objective.axis_name))
  outputs = run(jax.tree.map(lambda array: array[None], batch))
  return jax.tree.map(lambda array: array[0], jax.device_get(outputs))


def _of_term(term: Term, reader: Reader) -> tuple:
  """The arguments, mask, values and gradients of one term."""
  call = calls.of(term, reader, 0)
  inputs, mask = call.inputs, call.mask
  whole = is_whole(term, call.loss, inputs, mask)
  if whole:
    inputs = calls.with_mask(term, inputs, mask)
  floats = {
    name: array
    for name, array in inputs.items()
    if all(
      jnp.issubdtype(leaf.dtype, jnp.floating)
      for leaf in jax.tree.leaves(array)
    )
    and name not in term.targets
  }

  def total(floats):
    values = call.loss({**inputs, **floats})
    counts = mask if whole else counted(values, mask, call.arrays)
    kept = values if whole else jnp.where(counts, values, 0.0)
    return jnp.sum(kept), (values, counts)

  gradients, (values, counts) = jax.grad(total, has_aux=True)(floats)
  return dict(call.arrays), counts, values, gradients
