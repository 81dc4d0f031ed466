"""Modality focusing: a teacher restricted to modality-general features."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.errors import ShapeError, UserError
from kdjax.types import Array

EXACT = jax.lax.Precision.HIGHEST


class Head(nn.Module):
  """The teacher's logits from selected channels of its embedding.

  The saliency of a channel measures how general it is to both modalities: the
  distance between the logits of the teacher and of a companion, which has only
  the student's modality, with the channel permuted over the batch. It is
  averaged over the training batches; channels that are not selected are
  replaced.

  Xue, Gao, Ren and Zhao, "The Modality Focusing Hypothesis: Towards
  Understanding Crossmodal Knowledge Distillation", ICLR 2023, arXiv:2206.06487,
  Algorithm 1. The authors rank the channels once, before distillation; here the
  ranking is updated with each batch.

  Attributes:
    share: the fraction of selected channels; at least one is selected.
    which: "general" selects the most salient channels, "least_general" the
      least salient, "random" a fixed random set.
    fill: replaces the other channels: their "mean" over all batches, or "zero".
    dtype: of the logits; the memory is float32.
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
    """Returns the teacher's logits from the selected channels.

    Args:
      x: the teacher's embedding, the companion's logits, and kernel and bias of
        the teacher's linear classifier.
      like: ignored.
      train: whether to update the memory with this batch.
      mask: True for valid examples; None is all.
    """
    del like
    self._check(x)
    embedding, companion, kernel, bias = (
      array.astype(jnp.float32) for array in x
    )
    width = embedding.shape[1]
    zeros = lambda: jnp.zeros(width, jnp.float32)
    score = self.variable("memory", "saliency", zeros)
    mean = self.variable("memory", "embedding", zeros)
    batches = self.variable("memory", "batches", lambda: jnp.float32(0))
    rows = self.variable("memory", "rows", lambda: jnp.float32(0))
    if train and not self.is_initializing():
      valid = jnp.ones(len(embedding), bool) if mask is None else mask
      order = permute_valid(self.make_rng("draw"), valid)
      batch_saliency = saliency(
        embedding, embedding[order], companion, kernel, bias, valid
      )
      total = jnp.sum(jnp.where(valid[:, None], embedding, 0.0), axis=0)
      count, is_any = jnp.sum(valid), jnp.any(valid)
      batches.value += is_any
      rows.value += count
      change = batch_saliency - score.value
      change = is_any * change / jnp.maximum(batches.value, 1.0)
      score.value += jax.lax.stop_gradient(change)
      change = (total - count * mean.value) / jnp.maximum(rows.value, 1.0)
      mean.value += jax.lax.stop_gradient(change)
    ranked = {"general": score.value, "least_general": -score.value}
    if self.which == "random":
      draw = lambda: jax.random.uniform(self.make_rng("params"), (width,))
      ranked["random"] = self.variable("memory", "draw", draw).value
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
    embedding, companion, kernel, bias = (list(array.shape) for array in x)
    if kernel != [embedding[-1], companion[-1]] or bias != kernel[1:]:
      raise ShapeError(
        f"A head 'modality_focus' got an embedding {embedding}, the companion's"
        f" logits {companion}, a kernel {kernel} and a bias {bias}.",
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
  """Distance of a companion to a teacher with one channel permuted.

    saliency_d = mean over i and k of
      (teacher_ik + (permuted_id - embedding_id) W_dk - companion_ik)^2

  The classifier is linear, so permuting one channel adds a multiple of a row of
  its kernel. The square is expanded, so no array has B D K values.

  Args:
    embedding: the teacher's.
    permuted: the same, with rows in another order.
    companion: the companion's logits.
    kernel: W of the teacher's classifier.
    bias: of the teacher's classifier.
    mask: True for valid examples.
  """
  gap = jnp.matmul(embedding, kernel, precision=EXACT) + bias[None] - companion
  change = permuted - embedding
  along = jnp.matmul(gap, kernel.T, precision=EXACT)
  square = jnp.sum(gap**2, axis=1)[:, None] + 2.0 * change * along
  square += change**2 * jnp.sum(kernel**2, axis=1)[None]
  total = jnp.sum(jnp.where(mask[:, None], square, 0.0), axis=0)
  return total / (jnp.maximum(jnp.sum(mask), 1) * kernel.shape[1])


def permute_valid(key: Array, mask: Bool[Array, "B"]) -> Array:
  """A permutation, i32 [B], that permutes valid rows among themselves."""
  draw = jnp.where(mask, jax.random.uniform(key, mask.shape), 2.0)
  # The first entries are the valid rows in a random order; the j-th of them
  # replaces the j-th valid row.
  order = jnp.argsort(draw)
  rank = jnp.where(mask, jnp.cumsum(mask) - 1, jnp.arange(len(mask)))
  return jnp.where(mask, order[rank], jnp.arange(len(mask)))


def _largest(score: Float[Array, "D"], count: int) -> Bool[Array, "D"]:
  """True at the `count` largest scores; the first of equal scores."""
  rank = jnp.argsort(jnp.argsort(-score, stable=True))
  return rank < count
