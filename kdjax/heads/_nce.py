"""Contrastive scores between embeddings, and memory banks of embeddings."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from kdjax.numerics import l2_normalize
from kdjax.types import Array

EXACT = jax.lax.Precision.HIGHEST


class NormalizedDense(nn.Module):
  """A linear layer with outputs normalised to length 1.

  Attributes:
    width: of the output.
    dtype: of the layer; the norm is computed in float32.
  """

  width: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "B D"]) -> Float[Array, "B W"]:
    return l2_normalize(nn.Dense(self.width, dtype=self.dtype)(x))


class EmbeddedPair(nn.Module):
  """Embeddings of student and teacher, with index and label of each example.

  Features and indices of masked rows are replaced by 0.

  Attributes:
    width: of the embeddings.
    dtype: of the layers.
  """

  width: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: tuple,
    like: Float[Array, "B D"],
    mask: Bool[Array, "B"] | None,
  ) -> tuple[Array, Array, Array, Array | None, Array]:
    """Student [B W], teacher [B W], index, label or None, and mask [B]."""
    # Initialisation passes NumPy arrays, which traced arrays cannot index.
    features, index, *label = map(jnp.asarray, x)
    mask = jnp.ones(index.shape, bool) if mask is None else jnp.asarray(mask)
    embeddings = (
      NormalizedDense(self.width, self.dtype, name=side)(
        jnp.where(mask[:, None], values, 0)
      )
      for side, values in (("student", features), ("teacher", like))
    )
    index = jnp.where(mask, index, 0)
    return *embeddings, index, label[0] if label else None, mask


class NormalizedScores(nn.Module):
  """Log-scores minus log Z, which is estimated on the first batch and stored.

  Attributes:
    size: number of examples; Z is the mean score times it.
  """

  size: int

  @nn.compact
  def __call__(
    self,
    student: Float[Array, "B N"],
    teacher: Float[Array, "B N"],
    mask: Bool[Array, "B"],
    *,
    train: bool,
  ) -> tuple[Float[Array, "B N"], Float[Array, "B N"]]:
    stored = self.variable("memory", "log_z", jnp.zeros, (2,))
    known = self.variable("memory", "known", jnp.zeros, (), bool)
    estimate = jnp.stack(
      [log_partition(side, self.size, mask) for side in (student, teacher)]
    )
    # Z is a constant for later batches, and so it is for this one.
    estimate = jax.lax.stop_gradient(estimate)
    log_z = jnp.where(known.value, stored.value, estimate)
    if train and not self.is_initializing():
      stored.value, known.value = log_z, known.value | jnp.any(mask)
    return student - log_z[0], teacher - log_z[1]


def scores(
  bank: Float[Array, "M W"],
  embedding: Float[Array, "B W"],
  index: Int[Array, "B N"],
  *,
  temperature: float,
) -> Float[Array, "B N"]:
  """<bank_index, embedding> / temperature; NaN if the index is out of range."""
  rows, width = bank.shape
  if rows <= index.shape[1] * width:
    # All products take less memory than gathering the rows of each example.
    products = jnp.einsum("bw,mw->bm", embedding, bank, precision=EXACT)
    products = jnp.take_along_axis(products, index, axis=1)
  else:
    gathered = bank.at[index].get(mode="fill", fill_value=jnp.nan)
    products = jnp.einsum("bw,bnw->bn", embedding, gathered, precision=EXACT)
  return products / temperature


def log_partition(
  log_scores: Float[Array, "B N"],
  size: int,
  mask: Bool[Array, "B"] | None = None,
) -> Float[Array, ""]:
  """The logarithm of the mean score times `size`; 0 without valid rows."""
  valid = ~jnp.isneginf(log_scores)
  if mask is not None:
    valid &= mask[:, None]
  total = jax.nn.logsumexp(log_scores, where=valid)
  count = jnp.sum(valid, dtype=jnp.float32)
  log_z = total - jnp.log(jnp.maximum(count, 1.0)) + jnp.log(float(size))
  return jnp.where(count > 0, log_z, 0.0)


def update_rows(
  bank: Float[Array, "M W"],
  embedding: Float[Array, "B W"],
  index: Int[Array, "B"],
  *,
  momentum: float,
  mask: Bool[Array, "B"] | None = None,
) -> Float[Array, "M W"]:
  """Moves rows of the bank towards the embeddings, and normalises them."""
  new = momentum * bank[index] + (1.0 - momentum) * embedding
  if mask is not None:
    # An index out of range is not written.
    index = jnp.where(mask, index, bank.shape[0])
  return bank.at[index].set(l2_normalize(new), mode="drop")


def draw_negatives(
  key: Array, index: Int[Array, "B"], count: int, size: int
) -> Int[Array, "B N"]:
  """Draws `count` indices below `size`, with replacement, except `index`.

  The draw of an example depends on the key and its index, not on its position
  in the batch.
  """
  keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, index)
  draw = lambda key: jax.random.randint(key, (count,), 0, max(size - 1, 1))
  drawn = jax.vmap(draw)(keys)
  return drawn + (drawn >= index[:, None])


def same_class(
  label: Int[Array, "B"] | None, other: Int[Array, "B N"]
) -> Bool[Array, "B N"]:
  """Whether a negative is known to have the example's class."""
  if label is None:
    return jnp.zeros(other.shape, bool)
  return (label[:, None] == other) & (other >= 0)


def initial_rows(key: Array, size: int, width: int) -> Float[Array, "M W"]:
  """Random rows of length about 1, uniform within 1 / sqrt(width / 3)."""
  bound = (width / 3) ** -0.5
  return jax.random.uniform(key, (size, width), minval=-bound, maxval=bound)
