"""Selection of rows by the rank that a teacher gives the correct column."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from kdjax.numerics import kl_divergence
from kdjax.types import Array


def select_rows(
  scores: Float[Array, "N M"],
  target: Int[Array, "N"],
  mask: Bool[Array, "N"],
  ratio: float,
  ties: str,
) -> Bool[Array, "N"]:
  """Selects the correct rows and the best-ranked of the incorrect rows.

  A row is correct if its target column has the highest score.

  Args:
    scores: the teacher's score of each column.
    target: the correct column of each row.
    mask: True for valid rows.
    ratio: the fraction of the incorrect rows to keep, rounded down.
    ties: how to order rows of equal rank: "confidence", by the probability of
      the target, or "order", by position.
  """
  target_score = jnp.take_along_axis(scores, target[:, None], axis=1)
  before = jnp.arange(scores.shape[1])[None] < target[:, None]
  rank = jnp.sum(
    (scores > target_score) | ((scores == target_score) & before), axis=1
  )
  # Masked rows come last.
  key = jnp.where(mask, rank, scores.shape[1])
  if ties == "confidence":
    log_p = jax.nn.log_softmax(scores)
    confidence = jnp.take_along_axis(log_p, target[:, None], axis=1)[:, 0]
    order = jnp.lexsort((-confidence, key))
  else:
    order = jnp.argsort(key, stable=True)
  position = jnp.argsort(order)
  correct = jnp.sum(mask & (rank == 0))
  incorrect = jnp.sum(mask & (rank > 0))
  count = correct + jnp.floor(incorrect * ratio).astype(jnp.int32)
  return mask & (position < count)


def mean_divergence(
  student: Float[Array, "N M"],
  teacher: Float[Array, "N M"],
  kept: Bool[Array, "N"],
  temperature: float,
) -> Float[Array, ""]:
  """T^2 times the mean KL(teacher || student) over the selected rows."""
  log_p = jax.nn.log_softmax(teacher / temperature)
  log_q = jax.nn.log_softmax(student / temperature)
  rows = kl_divergence(log_p, log_q)
  count = jnp.maximum(jnp.sum(kept, dtype=jnp.float32), 1.0)
  return temperature**2 * jnp.sum(jnp.where(kept, rows, 0.0)) / count
