"""A term's loss values reduced to one number over the examples that count."""

from collections.abc import Mapping
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

from kdjax.errors import ShapeError, UserError
from kdjax.step import arguments, one_class
from kdjax.step.terms import Term
from kdjax.types import Array


@flax.struct.dataclass
class Value:
  """A term's value over all devices, and this device's share of it."""

  weight: Array  # f32 []
  mean: Array  # f32 [], over all devices
  count: Array  # f32 [], over all devices
  part: Array  # f32 []: the shares of all devices add up to `mean`
  # Where the weight is learned, see `uncertainty`: its log variance, f32 [],
  # and what is added to the objective over all devices, f32 [].
  log_variance: Array | None = None
  penalty: Array | None = None


def recorded(values: dict[str, Value]) -> dict[str, Array]:
  """The training metrics of the terms: {name: f32 []}."""
  named = {"loss": sum(value.weight * value.mean for value in values.values())}
  for name, value in values.items():
    named[f"loss/{name}"] = value.mean
    named[f"count/{name}"] = value.count
    if value.penalty is not None:
      named["loss"] += value.penalty
      named[f"log_variance/{name}"] = value.log_variance
  return named


def is_whole(term: Term, call, arrays: Mapping[str, Any], mask: Array) -> bool:
  """Whether a loss returns one number for the whole batch.

  Raises:
    UserError: its result is neither that nor one number per example or
      position; or an argument is not what the loss takes it for.
  """
  arguments.check(term, arrays)
  one_class.check(term, arrays)
  try:
    result = jax.eval_shape(call, arrays)
  except ShapeError as error:
    raise UserError(f"Term '{term.name}': {error}") from error
  except (TypeError, ValueError):
    arguments.check_sizes(term, arrays)
    raise
  arguments.check_sizes(term, arrays)
  shape = getattr(result, "shape", None)
  parameters = all(
    at.output.startswith("params/")
    for argument in term.reads
    for at in term.addresses(argument)
  )
  if shape is None or (shape and shape[0] != mask.shape[0] and not parameters):
    returned = list(shape) if shape is not None else type(result).__name__
    raise UserError(
      f"The loss of term '{term.name}' returned {returned} for a batch of "
      f"{mask.shape[0]}.",
      "Expected one number per example [B], per position [B T], or in all [].",
    )
  return shape == ()


def counted(values: Array, mask: Array, arrays: Mapping[str, Any]) -> Array:
  """bool with the shape of `values` ([B] or [B T]): which values count."""
  wide = lambda array: array.reshape(
    array.shape + (1,) * (values.ndim - array.ndim)
  )
  mask = wide(mask)
  label = arrays.get("label")
  if label is not None and jnp.issubdtype(label.dtype, jnp.integer):
    known = label >= 0
    if known.ndim > values.ndim:
      # Multi-label: an example counts if any of its classes is labelled.
      known = jnp.any(known, axis=tuple(range(values.ndim, known.ndim)))
    mask = mask & wide(known)
  positions = arrays.get("mask")
  if positions is not None:
    if positions.dtype != jnp.bool_:
      raise UserError(
        f"A term's `mask` is {positions.dtype} {list(positions.shape)}.",
        "Expected booleans, False where a position does not count.",
      )
    if positions.ndim > values.ndim:
      # The loss has reduced positions: an example without any does not count.
      positions = jnp.any(positions, axis=-1)
    mask = mask & wide(positions)
  return jnp.broadcast_to(mask, values.shape)


def agreed(collections: Mapping[str, Any], axis_name: str | None):
  """Collections made equal on every device.

  Batch statistics are averaged. A head's memory is equal already: it is
  computed from the rows of all devices.

  Args:
    collections: {"networks": .., "heads": ..}.
    axis_name: of the devices; None is one.
  """
  if not axis_name:
    return collections
  mean = lambda name, tree: (
    jax.lax.pmean(tree, axis_name) if name == "batch_stats" else tree
  )
  return {
    kind: {
      owner: {name: mean(name, tree) for name, tree in trees.items()}
      for owner, trees in owners.items()
    }
    for kind, owners in collections.items()
  }
