"""Parts of losses of a whole batch, some of whose rows may not count."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.numerics import root
from kdjax.types import Array


def shown(
  mask: Bool[Array, "B"] | None, *arrays: Float[Array, "B ..."]
) -> tuple[Array, ...]:
  """(who counts, every array in float32, 0 in the rows that do not)."""
  if mask is None:
    mask = jnp.ones(arrays[0].shape[0], bool)
  wide = lambda array: mask.reshape((-1,) + (1,) * (array.ndim - 1))
  return mask, *(
    jnp.where(wide(array), array.astype(jnp.float32), 0.0) for array in arrays
  )


def count(mask: Bool[Array, "N"]) -> Float[Array, ""]:
  """How many count; 1 where none does, to divide by."""
  return jnp.maximum(jnp.sum(mask.astype(jnp.float32)), 1.0)


def gram(x: Float[Array, "N D"]) -> Float[Array, "N N"]:
  """Inner products of all pairs of rows.

  At full precision, which accelerators do not give by default.
  """
  return jnp.matmul(x, x.T, precision=jax.lax.Precision.HIGHEST)


def low(
  values: Float[Array, "N"], mask: Bool[Array, "N"] | None = None
) -> Bool[Array, "N"]:
  """Which of the values that count are at most the median of those."""
  if mask is None:
    mask = jnp.ones(values.shape, bool)
  smaller = (values[None] < values[:, None]) & mask[None]
  rank = jnp.sum(smaller, axis=1)
  return mask & (rank <= (jnp.sum(mask) - 1) // 2)


def correlation(
  first: Float[Array, "N M"],
  second: Float[Array, "N M"],
  mask: Bool[Array, "M"] | None,
  *,
  epsilon: float,
  clamp: bool,
) -> Float[Array, "N"]:
  """Pearson's correlation of rows, over the columns that count.

  Args:
    first: any.
    second: any.
    mask: of the columns; None is all.
    epsilon: added to the product of the norms.
    clamp: whether epsilon is the least that each norm is, instead.
  """
  first, second = _centred(first, mask), _centred(second, mask)
  inner = jnp.sum(first * second, axis=1)
  norms = [root(jnp.sum(one**2, axis=1)) for one in (first, second)]
  if clamp:
    norms = [jnp.maximum(norm, epsilon) for norm in norms]
    return inner / norms[0] / norms[1]
  return inner / (norms[0] * norms[1] + epsilon)


def _centred(
  x: Float[Array, "N M"], mask: Bool[Array, "M"] | None
) -> Float[Array, "N M"]:
  if mask is None:
    return x - jnp.mean(x, axis=1, keepdims=True)
  x = jnp.where(mask[None], x, 0.0)
  mean = jnp.sum(x, axis=1, keepdims=True) / count(mask)
  return jnp.where(mask[None], x - mean, 0.0)


def confidence(logits: Float[Array, "B K"]) -> Float[Array, "B"]:
  """log(p / (1 - p)) of the likeliest class: p itself is soon rounded to 1."""
  best = jax.nn.one_hot(jnp.argmax(logits, axis=1), logits.shape[1])
  rest = jnp.where(best > 0, -jnp.inf, logits)
  return jnp.max(logits, axis=1) - jax.nn.logsumexp(rest, axis=1)


def selected_mean(
  parts: Float[Array, "N"],
  sure: Float[Array, "N"],
  mask: Bool[Array, "N"] | None,
  select: str,
) -> Float[Array, ""]:
  """The sum of the parts selected, divided by how many parts there are.

  Args:
    parts: what is averaged; 0 where hidden.
    sure: how sure the teacher is of each.
    mask: which there are; None is all.
    select: "all"; "low", those of which the teacher is no surer than of the
      median; "share", all, times the share of those.
  """
  if mask is None:
    mask = jnp.ones(parts.shape, bool)
  unsure = low(sure, mask)
  if select == "low":
    parts = jnp.where(unsure, parts, 0.0)
  mean = jnp.sum(parts) / count(mask)
  if select == "share":
    mean *= jnp.sum(unsure.astype(jnp.float32)) / count(mask)
  return mean
