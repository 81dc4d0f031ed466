"""CRD scores with a memory bank of the whole data set."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from kdjax.heads import _nce
from kdjax.types import Array


class Head(nn.Module):
  """Log-scores of each side with stored embeddings of the other side.

  Each side is embedded by a linear layer and normalised to length 1. The bank
  stores an embedding of each example for each side. Column 0 is the score with
  the stored embedding of the same example, the other columns are scores with
  those of random examples. In training, the stored embeddings of the batch are
  then moved towards the new ones. Negatives known to have the example's class
  and masked rows are ignored.

  Tian, Krishnan and Isola, "Contrastive Representation Distillation", ICLR
  2020, arXiv:1910.10699. Its code draws negatives of other classes on the host,
  from all labels of the data set; here only labels seen so far are known.

  It reads (features, index) or (features, index, label). An index of `size` or
  more gives a loss of NaN.

  Attributes:
    size: the number of examples in the data set.
    negatives: the number of random negatives per example.
    width: of the embeddings.
    temperature: divides the scores.
    momentum: the weight of the stored embedding in an update.
    dtype: of the activations; parameters and memory are float32.
  """

  size: int
  negatives: int = 16384
  width: int = 128
  temperature: float = 0.07
  momentum: float = 0.5
  dtype: Any = jnp.float32

  both = True
  gathered = True

  @nn.compact
  def __call__(
    self,
    x: tuple[Float[Array, "B D"], Int[Array, "B"]]
    | tuple[Float[Array, "B D"], Int[Array, "B"], Int[Array, "B"]],
    like: Float[Array, "B D_teacher"] | None = None,
    *,
    train: bool = False,
    mask: Bool[Array, "B"] | None = None,
  ) -> tuple[Float[Array, "B N"], Float[Array, "B N"]]:
    """Log-scores of the student and of the teacher, minus log Z."""
    embed = _nce.EmbeddedPair(self.width, self.dtype, name="embed")
    student, teacher, index, label, mask = embed(x, like, mask)
    banks = {
      side: self.variable("memory", side, self._start) for side in _SIDES
    }
    labels = self.variable("memory", "label", _unknown, self.size)
    key = self.make_rng("draw") if train else jax.random.key(0)
    drawn = _nce.draw_negatives(key, index, self.negatives, self.size)
    ignored = _nce.same_class(label, labels.value[drawn])
    log_scores = []
    for side, embedding in (("teacher", student), ("student", teacher)):
      scores = _nce.scores(
        banks[side].value,
        embedding,
        jnp.concatenate([index[:, None], drawn], axis=1),
        temperature=self.temperature,
      )
      positive = scores[:, :1]
      negatives = jnp.where(ignored, -jnp.inf, scores[:, 1:])
      log_scores.append(jnp.concatenate([positive, negatives], axis=1))
    normalize = _nce.NormalizedScores(self.size, name="z")
    log_scores = normalize(*log_scores, mask, train=train)
    if train and not self.is_initializing():
      for side, embedding in (("student", student), ("teacher", teacher)):
        banks[side].value = _nce.update_rows(
          banks[side].value,
          jax.lax.stop_gradient(embedding),
          index,
          momentum=self.momentum,
          mask=mask,
        )
      if label is not None:
        rows = jnp.where(mask, index, self.size)
        labels.value = labels.value.at[rows].set(label, mode="drop")
    return log_scores

  def _start(self) -> Float[Array, "M W"]:
    return _nce.initial_rows(self.make_rng("params"), self.size, self.width)


_SIDES = ("student", "teacher")


def _unknown(size: int) -> Int[Array, "M"]:
  return jnp.full(size, -1, jnp.int32)
