"""Scores of an example's embedding among those of others, and memories."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from kdjax.numerics import unit
from kdjax.types import Array

EXACT = jax.lax.Precision.HIGHEST


class Embed(nn.Module):
  """A linear layer whose outputs have length 1.

  Attributes:
    width: of the output.
    dtype: of the layer; the length is taken in float32.
  """

  width: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "B D"]) -> Float[Array, "B W"]:
    return unit(nn.Dense(self.width, dtype=self.dtype)(x))


class Sides(nn.Module):
  """Both sides of a batch embedded, and what tells its examples apart.

  What hidden rows hold is no number of anything: it is replaced.

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
    # What starts a run is NumPy's, which traced arrays do not index.
    features, index, *label = map(jnp.asarray, x)
    mask = jnp.ones(index.shape, bool) if mask is None else jnp.asarray(mask)
    embedded = (
      Embed(self.width, self.dtype, name=side)(jnp.where(mask[:, None], one, 0))
      for side, one in (("student", features), ("teacher", like))
    )
    index = jnp.where(mask, index, 0)
    return *embedded, index, label[0] if label else None, mask


class Normalized(nn.Module):
  """Log-scores less log Z of the first batch, which is kept.

  Attributes:
    size: of the data: Z is the mean score times it.
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
    found = jnp.stack(
      [log_partition(side, self.size, mask) for side in (student, teacher)]
    )
    # It is a constant from here on, and so it is for this batch.
    found = jax.lax.stop_gradient(found)
    log_z = jnp.where(known.value, stored.value, found)
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
  """<bank_index, embedding> / temperature; no number where there is no row."""
  rows, width = bank.shape
  if rows <= index.shape[1] * width:
    # All products take less memory than the rows of every example.
    every = jnp.einsum("bw,mw->bm", embedding, bank, precision=EXACT)
    found = jnp.take_along_axis(every, index, axis=1)
  else:
    chosen = bank.at[index].get(mode="fill", fill_value=jnp.nan)
    found = jnp.einsum("bw,bnw->bn", embedding, chosen, precision=EXACT)
  return found / temperature


def log_partition(
  log_scores: Float[Array, "B N"],
  size: int,
  mask: Bool[Array, "B"] | None = None,
) -> Float[Array, ""]:
  """The logarithm of the mean score times `size`; 0 if no row counts."""
  counts = ~jnp.isneginf(log_scores)
  if mask is not None:
    counts &= mask[:, None]
  total = jax.nn.logsumexp(log_scores, where=counts)
  count = jnp.sum(counts, dtype=jnp.float32)
  log_z = total - jnp.log(jnp.maximum(count, 1.0)) + jnp.log(float(size))
  return jnp.where(count > 0, log_z, 0.0)


def updated(
  bank: Float[Array, "M W"],
  embedding: Float[Array, "B W"],
  index: Int[Array, "B"],
  *,
  momentum: float,
  mask: Bool[Array, "B"] | None = None,
) -> Float[Array, "M W"]:
  """The bank with its rows moved to the embeddings, of length 1 again."""
  new = momentum * bank[index] + (1.0 - momentum) * embedding
  if mask is not None:
    # A row that does not exist is not written.
    index = jnp.where(mask, index, bank.shape[0])
  return bank.at[index].set(unit(new), mode="drop")


def others(
  key: Array, index: Int[Array, "B"], count: int, size: int
) -> Int[Array, "B N"]:
  """Rows drawn, with replacement, of all but the example's own.

  What an example is given depends on the key and itself, not on its place in
  the batch.
  """
  keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, index)
  draw = lambda key: jax.random.randint(key, (count,), 0, max(size - 1, 1))
  drawn = jax.vmap(draw)(keys)
  return drawn + (drawn >= index[:, None])


def alike(
  label: Int[Array, "B"] | None, other: Int[Array, "B N"]
) -> Bool[Array, "B N"]:
  """Whether a negative is known to be of the example's own class."""
  if label is None:
    return jnp.zeros(other.shape, bool)
  return (label[:, None] == other) & (other >= 0)


def start(key: Array, size: int, width: int) -> Float[Array, "M W"]:
  """Rows of about length 1: every entry within 1 / sqrt(width / 3)."""
  bound = (width / 3) ** -0.5
  return jax.random.uniform(key, (size, width), minval=-bound, maxval=bound)
