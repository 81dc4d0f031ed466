"""A teacher that is left with what its modality shares with the student's."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.errors import ShapeError, UserError
from kdjax.types import Array

EXACT = jax.lax.Precision.HIGHEST


class Head(nn.Module):
  """The teacher's logits from some channels of its embedding alone.

  A channel is general to both modalities as far as a companion, which sees only
  the student's modality, can follow it: the more the distance between the two
  networks' logits grows when the channel is permuted over the batch, the more
  general it is. The saliency of all channels is averaged over all batches seen
  in training; channels outside the chosen share are replaced.

  Xue, Gao, Ren and Zhao, "The Modality Focusing Hypothesis: Towards
  Understanding Crossmodal Knowledge Distillation", ICLR 2023, arXiv:2206.06487,
  Algorithm 1. The authors rank the channels once, before they distil; here the
  ranking goes on as batches come.

  Attributes:
    share: of the channels that are kept, at least one.
    which: "general" keeps the most salient, "least_general" the least,
      "random" a draw of them that never changes.
    fill: what the others become, their "mean" over all batches, or "zero".
    dtype: of the logits; what is remembered is float32.
  """

  share: float = 0.25
  which: str = "general"
  fill: str = "mean"
  dtype: Any = jnp.float32

  gathered = True

  @nn.compact
  def __call__(
    self,
    x: tuple[
      Float[Array, "B D"],
      Float[Array, "B K"],
      Float[Array, "D K"],
      Float[Array, "K"],
    ],
    like: Float[Array, "..."] | None = None,
    *,
    train: bool = False,
    mask: Bool[Array, "B"] | None = None,
  ) -> Float[Array, "B K"]:
    """Logits of the teacher's embedding, given the companion's and W, b.

    Args:
      x: the teacher's embedding, the companion's logits, and kernel and bias of
        the teacher's linear classifier.
      like: what the student reads; it is not looked at.
      train: whether this batch is remembered.
      mask: which examples count.
    """
    del like
    self._check(x)
    embedding, companion, kernel, bias = (one.astype(jnp.float32) for one in x)
    width = embedding.shape[1]
    zeros = lambda: jnp.zeros(width, jnp.float32)
    score = self.variable("memory", "saliency", zeros)
    mean = self.variable("memory", "embedding", zeros)
    batches = self.variable("memory", "batches", lambda: jnp.float32(0))
    rows = self.variable("memory", "rows", lambda: jnp.float32(0))
    if train and not self.is_initializing():
      valid = jnp.ones(len(embedding), bool) if mask is None else mask
      order = shuffled(self.make_rng("draw"), valid)
      found = saliency(
        embedding, embedding[order], companion, kernel, bias, valid
      )
      shown = jnp.sum(jnp.where(valid[:, None], embedding, 0.0), axis=0)
      more, any_more = jnp.sum(valid), jnp.any(valid)
      batches.value += any_more
      rows.value += more
      move = any_more * (found - score.value) / jnp.maximum(batches.value, 1.0)
      score.value += jax.lax.stop_gradient(move)
      move = (shown - more * mean.value) / jnp.maximum(rows.value, 1.0)
      mean.value += jax.lax.stop_gradient(move)
    ranked = {"general": score.value, "least_general": -score.value}
    if self.which == "random":
      ranked["random"] = self.variable(
        "memory",
        "draw",
        lambda: jax.random.uniform(self.make_rng("params"), (width,)),
      ).value
    kept = _largest(ranked[self.which], max(1, round(self.share * width)))
    filling = mean.value if self.fill == "mean" else zeros()
    focused = jnp.where(kept[None], embedding, filling[None])
    logits = jnp.matmul(focused, kernel, precision=EXACT) + bias[None]
    return logits.astype(self.dtype)

  def _check(self, x) -> None:
    for option, value, known in (
      ("which", self.which, ("general", "least_general", "random")),
      ("fill", self.fill, ("mean", "zero")),
    ):
      if value not in known:
        raise UserError(f"No {option} '{value}'.", exists=known)
    embedding, companion, kernel, bias = (list(one.shape) for one in x)
    if kernel != [embedding[-1], companion[-1]] or bias != kernel[1:]:
      raise ShapeError(
        f"A head 'modality_focus' stands on an embedding {embedding}, logits"
        f" {companion} of a companion, a kernel {kernel} and a bias {bias}.",
        "Kernel and bias must map the embedding to the companion's classes.",
      )


def saliency(
  embedding: Float[Array, "B D"],
  permuted: Float[Array, "B D"],
  companion: Float[Array, "B K"],
  kernel: Float[Array, "D K"],
  bias: Float[Array, "K"],
  mask: Bool[Array, "B"],
) -> Float[Array, "D"]:
  """How far a companion is from a teacher that has one channel permuted.

    saliency_d = mean over i and k of
      (teacher_ik + (permuted_id - embedding_id) W_dk - companion_ik)^2

  The classifier is linear, so one channel's change is a row of its kernel, and
  the square is written out: no array has B D K numbers.

  Args:
    embedding: of the teacher.
    permuted: the same, its rows in another order.
    companion: logits.
    kernel: W of the teacher's classifier.
    bias: of the teacher's classifier.
    mask: which examples count.
  """
  gap = jnp.matmul(embedding, kernel, precision=EXACT) + bias[None] - companion
  change = permuted - embedding
  along = jnp.matmul(gap, kernel.T, precision=EXACT)
  square = jnp.sum(gap**2, axis=1)[:, None] + 2.0 * change * along
  square += change**2 * jnp.sum(kernel**2, axis=1)[None]
  total = jnp.sum(jnp.where(mask[:, None], square, 0.0), axis=0)
  return total / (jnp.maximum(jnp.sum(mask), 1) * kernel.shape[1])


def shuffled(key: Array, mask: Bool[Array, "B"]) -> Array:
  """A permutation, i32 [B], in which rows that count replace such rows."""
  place = jnp.where(mask, jax.random.uniform(key, mask.shape), 2.0)
  # First those that count, in a random order; the j-th that counts is given
  # the j-th of them.
  order = jnp.argsort(place)
  rank = jnp.where(mask, jnp.cumsum(mask) - 1, jnp.arange(len(mask)))
  return jnp.where(mask, order[rank], jnp.arange(len(mask)))


def _largest(score: Float[Array, "D"], count: int) -> Bool[Array, "D"]:
  """Which are among the `count` largest; of equals, the first."""
  rank = jnp.argsort(jnp.argsort(-score, stable=True))
  return rank < count
