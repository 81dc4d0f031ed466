"""Gradient accumulation: a batch in parts, with the gradient of the whole."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from kdjax.step.reduction import Value
from kdjax.types import Array, Batch


def in_parts(
  function: Callable, parts: int, collections: Any, batch: Batch, key: Array
) -> tuple[Any, Any, dict[str, Value]]:
  """The gradients of a batch that passes through the networks in parts.

  A term's mean is over the examples that count in all parts, as in the whole
  batch. Batch statistics, such as those of BatchNorm, are computed per part;
  each part starts with the collections that the previous part returned.

  Args:
    function: (collections, batch, key, counts) -> gradients, collections,
      values; `counts` holds the number of examples that count for each term.
    parts: the number of parts.
    collections: of the networks and heads.
    batch: [B ...].
    key: the random key of the step.

  Returns:
    The results of `function`, combined over all parts.
  """
  if parts == 1:
    return function(collections, batch, key)
  cut = jax.tree.map(
    lambda leaf: leaf.reshape(parts, -1, *leaf.shape[1:]), dict(batch)
  )
  keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(parts))

  def count(batch, key):
    _, _, values = function(collections, batch, key, None)
    return {name: value.count for name, value in values.items()}

  # Counts depend on no network: XLA removes the networks from this program.
  counts = jax.lax.map(lambda part: count(*part), (cut, keys))
  counts = jax.tree.map(lambda leaf: leaf.sum(0), counts)

  def accumulate(carry, part):
    total, collections = carry
    gradients, collections, values = function(collections, *part, counts)
    return (jax.tree.map(jnp.add, total, gradients), collections), values

  like = jax.eval_shape(lambda: function(collections, batch, key)[0])
  zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), like)
  carry, values = jax.lax.scan(accumulate, (zeros, collections), (cut, keys))
  return (
    *carry,
    {
      name: Value(
        weight=value.weight[0],
        mean=value.mean.sum(0),
        count=value.count.sum(0),
        part=value.part.sum(0),
        log_variance=_first(value.log_variance),
        penalty=_first(value.penalty),
      )
      for name, value in values.items()
    },
  )


def _first(values: Array | None) -> Array | None:
  """What is the same in all parts."""
  return None if values is None else values[0]
