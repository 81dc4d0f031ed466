"""Rows chosen by how well a teacher ranks what is right."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from kdjax.types import Array


def trusted(
  scores: Float[Array, "N M"],
  own: Int[Array, "N"],
  mask: Bool[Array, "N"],
  ratio: float,
  ties: str,
) -> Bool[Array, "N"]:
  """All rows whose own column is first, and the best-ranked of the others.

  Args:
    scores: of the columns.
    own: the column that is right.
    mask: which rows count.
    ratio: the share of the others that is kept, rounded down.
    ties: among rows of one rank, first those of the higher probability,
      "confidence", or those that come first, "order".
  """
  right = jnp.take_along_axis(scores, own[:, None], axis=1)
  before = jnp.arange(scores.shape[1])[None] < own[:, None]
  rank = jnp.sum((scores > right) | ((scores == right) & before), axis=1)
  # Rows that do not count come last.
  key = jnp.where(mask, rank, scores.shape[1])
  if ties == "confidence":
    log_p = jax.nn.log_softmax(scores)
    sure = jnp.take_along_axis(log_p, own[:, None], axis=1)[:, 0]
    order = jnp.lexsort((-sure, key))
  else:
    order = jnp.argsort(key, stable=True)
  place = jnp.argsort(order)
  right_count = jnp.sum(mask & (rank == 0))
  wrong_count = jnp.sum(mask & (rank > 0))
  kept = right_count + jnp.floor(wrong_count * ratio).astype(jnp.int32)
  return mask & (place < kept)


def divergence(
  student: Float[Array, "N M"],
  teacher: Float[Array, "N M"],
  kept: Bool[Array, "N"],
  temperature: float,
) -> Float[Array, ""]:
  """T^2 times the mean of KL(teacher || student) over the rows kept."""
  log_p = jax.nn.log_softmax(teacher / temperature)
  log_q = jax.nn.log_softmax(student / temperature)
  rows = jnp.sum(jnp.exp(log_p) * (log_p - log_q), axis=1)
  count = jnp.maximum(jnp.sum(kept, dtype=jnp.float32), 1.0)
  return temperature**2 * jnp.sum(jnp.where(kept, rows, 0.0)) / count
