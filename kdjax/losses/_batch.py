"""Helpers of losses over a whole batch, with a mask of valid rows."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.numerics import class_share, safe_sqrt
from kdjax.types import Array


def zero_masked(
  mask: Bool[Array, "B"] | None, *arrays: Float[Array, "B ..."]
) -> tuple[Array, ...]:
  """Returns (mask, arrays in float32 with 0 in the masked rows)."""
  if mask is None:
    mask = jnp.ones(arrays[0].shape[0], bool)
  wide = lambda array: mask.reshape((-1,) + (1,) * (array.ndim - 1))
  return mask, *(
    jnp.where(wide(array), array.astype(jnp.float32), 0.0) for array in arrays
  )


def valid_count(mask: Bool[Array, "N"]) -> Float[Array, ""]:
  """The number of True entries, at least 1, as a divisor."""
  return jnp.maximum(jnp.sum(mask.astype(jnp.float32)), 1.0)


def gram(x: Float[Array, "N D"]) -> Float[Array, "N N"]:
  """Inner products of all pairs of rows, at full float32 precision."""
  return jnp.matmul(x, x.T, precision=jax.lax.Precision.HIGHEST)


def at_most_median(
  values: Float[Array, "N"], mask: Bool[Array, "N"] | None = None
) -> Bool[Array, "N"]:
  """Which of the valid values are at most the median of the valid values."""
  if mask is None:
    mask = jnp.ones(values.shape, bool)
  smaller = (values[None] < values[:, None]) & mask[None]
  rank = jnp.sum(smaller, axis=1)
  return mask & (rank <= (jnp.sum(mask) - 1) // 2)


def pearson(
  first: Float[Array, "N M"],
  second: Float[Array, "N M"],
  mask: Bool[Array, "M"] | Bool[Array, "N M"] | None,
  *,
  epsilon: float,
  clamp: bool,
) -> Float[Array, "N"]:
  """Pearson correlation of each pair of rows, over the valid columns.

  Args:
    first: a matrix.
    second: a matrix of the same shape.
    mask: True for valid columns, of all rows or of each; None is all.
    epsilon: added to the product of the norms.
    clamp: whether each norm is instead clamped to at least epsilon.
  """
  first, second = _centred(first, mask), _centred(second, mask)
  inner = jnp.sum(first * second, axis=1)
  norms = [safe_sqrt(jnp.sum(x**2, axis=1)) for x in (first, second)]
  if clamp:
    norms = [jnp.maximum(norm, epsilon) for norm in norms]
    return inner / norms[0] / norms[1]
  return inner / (norms[0] * norms[1] + epsilon)


def _centred(
  x: Float[Array, "N M"], mask: Bool[Array, "M"] | Bool[Array, "N M"] | None
) -> Float[Array, "N M"]:
  if mask is None:
    return x - jnp.mean(x, axis=1, keepdims=True)
  if mask.ndim == 2:
    mean = jnp.mean(jnp.where(mask, x, 0.0), axis=1, keepdims=True)
    return jnp.where(mask, x - mean * class_share(mask)[:, None], 0.0)
  x = jnp.where(mask[None], x, 0.0)
  mean = jnp.sum(x, axis=1, keepdims=True) / valid_count(mask)
  return jnp.where(mask[None], x - mean, 0.0)


def top_log_odds(logits: Float[Array, "B K"]) -> Float[Array, "B"]:
  """log(p / (1 - p)) of the most probable class.

  Unlike p, it does not saturate for a confident prediction.
  """
  best = jax.nn.one_hot(jnp.argmax(logits, axis=1), logits.shape[1])
  rest = jnp.where(best > 0, -jnp.inf, logits)
  return jnp.max(logits, axis=1) - jax.nn.logsumexp(rest, axis=1)


def selected_mean(
  values: Float[Array, "N"],
  confidence: Float[Array, "N"],
  mask: Bool[Array, "N"] | None,
  select: str,
) -> Float[Array, ""]:
  """The sum of the selected values, divided by the number of valid values.

  Args:
    values: what is averaged; 0 where masked.
    confidence: the teacher's confidence in each value.
    mask: True for valid values; None is all.
    select: "all"; "low", values with a confidence of at most the median; or
      "share", all values times the fraction that "low" selects.
  """
  if mask is None:
    mask = jnp.ones(values.shape, bool)
  is_low = at_most_median(confidence, mask)
  if select == "low":
    values = jnp.where(is_low, values, 0.0)
  mean = jnp.sum(values) / valid_count(mask)
  if select == "share":
    mean *= jnp.sum(is_low.astype(jnp.float32)) / valid_count(mask)
  return mean
