"""Similarity logits between two sides of a batch, as in CLIP."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from kdjax.errors import same_shape
from kdjax.numerics import l2_normalize
from kdjax.types import Array

# The logit of a masked pair. It is finite, so that 0 times its logarithm is 0.
HIDDEN_LOGIT = -1e30


def default_mask(
  mask: Bool[Array, "B"] | None, like: Float[Array, "B ..."]
) -> Bool[Array, "B"]:
  """The mask, or all True without one."""
  return jnp.ones(like.shape[0], bool) if mask is None else mask


def zero_masked(
  x: Float[Array, "B ..."], mask: Bool[Array, "B"]
) -> Float[Array, "B ..."]:
  """The array in float32, 0 in the masked rows."""
  rows = mask.reshape(mask.shape + (1,) * (x.ndim - 1))
  return jnp.where(rows, x.astype(jnp.float32), 0.0)


def masked_mean(
  values: Float[Array, "B"], mask: Bool[Array, "B"]
) -> Float[Array, ""]:
  """The mean over the valid rows; 0 without any."""
  count = jnp.sum(mask, dtype=jnp.float32)
  return jnp.sum(jnp.where(mask, values, 0.0)) / jnp.maximum(count, 1.0)


def shared_scalar(
  scale: Float[Array, "B"], mask: Bool[Array, "B"]
) -> Float[Array, ""]:
  """The scalar that is repeated in every row."""
  return masked_mean(scale.astype(jnp.float32), mask)


def inner_products(
  rows: Float[Array, "N D"], columns: Float[Array, "M D"]
) -> Float[Array, "N M"]:
  """All inner products, at full float32 precision."""
  return jnp.einsum(
    "nd,md->nm", rows, columns, precision=jax.lax.Precision.HIGHEST
  )


def similarity_logits(
  rows: Float[Array, "B D"],
  columns: Float[Array, "B D"],
  scale: Float[Array, ""],
  mask: Bool[Array, "B"],
  normalize: bool = True,
) -> Float[Array, "B B"]:
  """scale <row_i, column_j> / (|row_i| |column_j|), masked columns lowest."""
  same_shape(rows=rows, columns=columns)
  rows, columns = zero_masked(rows, mask), zero_masked(columns, mask)
  if normalize:
    rows, columns = l2_normalize(rows), l2_normalize(columns)
  # Scaled before the product. After it, a compiler may round one logit in two
  # ways, and the difference of a large logit and itself is then not 0.
  return jnp.where(
    mask[None], inner_products(scale * rows, columns), HIDDEN_LOGIT
  )


def matching_cross_entropy(
  logits: Float[Array, "B B"],
  mask: Bool[Array, "B"],
  group: Int[Array, "B"] | None = None,
) -> Float[Array, ""]:
  """Mean cross-entropy of the rows, with column i as the target of row i.

  With groups, the mean over the columns of the row's group.
  """
  log_p = jax.nn.log_softmax(logits)
  if group is None:
    return masked_mean(-jnp.diagonal(log_p), mask)
  positive = positives(group, mask)
  count = jnp.maximum(jnp.sum(positive, axis=1, dtype=jnp.float32), 1.0)
  total = jnp.sum(jnp.where(positive, log_p, 0.0), axis=1)
  return masked_mean(-total / count, mask)


def positives(
  group: Int[Array, "B"], mask: Bool[Array, "B"]
) -> Bool[Array, "B B"]:
  """True for a valid row with itself, and for valid rows of one group.

  The group -1 is none.
  """
  same = (group[:, None] == group[None]) & (group[:, None] >= 0)
  same |= jnp.eye(group.shape[0], dtype=bool)
  return same & mask[:, None] & mask[None]


def mean_divergence(
  student: Float[Array, "B B"],
  teacher: Float[Array, "B B"],
  mask: Bool[Array, "B"],
  entropy: bool = True,
) -> Float[Array, ""]:
  """Mean KL(teacher || student) of the rows.

  With `entropy=False`, the mean cross-entropy.
  """
  log_p, log_q = jax.nn.log_softmax(teacher), jax.nn.log_softmax(student)
  gap = log_p - log_q if entropy else -log_q
  return masked_mean(jnp.sum(jnp.exp(log_p) * gap, axis=-1), mask)
