"""A batch in parts, one after another: as one, in less memory."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from kdjax.step.reduction import Value
from kdjax.types import Array, Batch


def in_parts(
  function: Callable, parts: int, collections: Any, batch: Batch, key: Array
) -> tuple[Any, Any, dict[str, Value]]:
  """The gradients of a batch, whose parts go through the networks in turn.

  A term's mean is over the examples that count in all parts: that of the whole
  batch. What a part sees of a batch, such as the statistics of BatchNorm, is of
  itself; the next part goes on with the collections that it leaves.

  Args:
    function: (collections, batch, key, counts) -> gradients, collections,
      values; `counts` has how many examples count for each term.
    parts: how many.
    collections: of the networks and heads.
    batch: [B ...].
    key: of the step.

  Returns:
    What `function` gives, of all parts together.
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

  # Who counts is known without a network: XLA leaves those out.
  counts = jax.lax.map(lambda part: count(*part), (cut, keys))
  counts = jax.tree.map(lambda leaf: leaf.sum(0), counts)

  def one(carry, part):
    gradients, collections = carry
    own, collections, values = function(collections, *part, counts)
    return (jax.tree.map(jnp.add, gradients, own), collections), values

  like = jax.eval_shape(lambda: function(collections, batch, key)[0])
  zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), like)
  carry, values = jax.lax.scan(one, (zeros, collections), (cut, keys))
  return (
    *carry,
    {
      name: Value(
        weight=value.weight[0],
        mean=value.mean.sum(0),
        count=value.count.sum(0),
        part=value.part.sum(0),
      )
      for name, value in values.items()
    },
  )
