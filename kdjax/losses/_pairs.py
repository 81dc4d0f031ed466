"""Two sides of a batch compared with each other, as CLIP compares them."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.errors import same_shape
from kdjax.numerics import unit
from kdjax.types import Array

# The logit of a pair that does not count. It is finite, so that 0 times its
# logarithm is 0.
FLOOR = -1e30


def visible(
  mask: Bool[Array, "B"] | None, like: Float[Array, "B ..."]
) -> Bool[Array, "B"]:
  """Which rows count: those of the mask, or all."""
  return jnp.ones(like.shape[0], bool) if mask is None else mask


def blank(
  x: Float[Array, "B ..."], mask: Bool[Array, "B"]
) -> Float[Array, "B ..."]:
  """In float32, with zeros in rows that do not count."""
  rows = mask.reshape(mask.shape + (1,) * (x.ndim - 1))
  return jnp.where(rows, x.astype(jnp.float32), 0.0)


def average(
  values: Float[Array, "B"], mask: Bool[Array, "B"]
) -> Float[Array, ""]:
  """The mean over the rows that count; 0 if none does."""
  count = jnp.sum(mask, dtype=jnp.float32)
  return jnp.sum(jnp.where(mask, values, 0.0)) / jnp.maximum(count, 1.0)


def number(
  scale: Float[Array, "B"], mask: Bool[Array, "B"]
) -> Float[Array, ""]:
  """The one number that every row repeats."""
  return average(scale.astype(jnp.float32), mask)


def product(
  rows: Float[Array, "N D"], columns: Float[Array, "M D"]
) -> Float[Array, "N M"]:
  """All inner products, in float32 on every device."""
  # Accelerators round the factors otherwise.
  return jnp.einsum(
    "nd,md->nm", rows, columns, precision=jax.lax.Precision.HIGHEST
  )


def similarity(
  rows: Float[Array, "B D"],
  columns: Float[Array, "B D"],
  scale: Float[Array, ""],
  mask: Bool[Array, "B"],
  normalize: bool = True,
) -> Float[Array, "B B"]:
  """scale <row_i, column_j> / (|row_i| |column_j|), hidden columns lowest."""
  same_shape(rows=rows, columns=columns)
  rows, columns = blank(rows, mask), blank(columns, mask)
  if normalize:
    rows, columns = unit(rows), unit(columns)
  # Scaled before the product: after it, a compiler may round a logit in two
  # ways, and the difference of a large one from itself is then not 0.
  return jnp.where(mask[None], product(scale * rows, columns), FLOOR)


def match(
  logits: Float[Array, "B B"], mask: Bool[Array, "B"]
) -> Float[Array, ""]:
  """The mean cross-entropy of every row with its own column."""
  own = jnp.diagonal(jax.nn.log_softmax(logits))
  return average(-own, mask)


def divergence(
  student: Float[Array, "B B"],
  teacher: Float[Array, "B B"],
  mask: Bool[Array, "B"],
  entropy: bool = True,
) -> Float[Array, ""]:
  """The mean KL(teacher || student) of the rows; cross-entropy without."""
  log_p, log_q = jax.nn.log_softmax(teacher), jax.nn.log_softmax(student)
  gap = log_p - log_q if entropy else -log_q
  return average(jnp.sum(jnp.exp(log_p) * gap, axis=-1), mask)
