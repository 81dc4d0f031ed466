"""Every example told from others by what a memory of all examples holds."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from kdjax.heads import _nce
from kdjax.types import Array


class Head(nn.Module):
  """Log-scores of both sides among embeddings kept of the whole data set.

  Each side is embedded by a linear layer and divided by its length. The
  student's embedding is compared with the teacher's kept ones and the other
  way round: column 0 with those of the example itself, the others with those
  of examples drawn at random. After the scores, what is kept moves halfway to
  the new embeddings. A negative known to be of the example's own class, and
  everything of rows that do not count, is left out.

  Tian, Krishnan and Isola, "Contrastive Representation Distillation", ICLR
  2020, arXiv:1910.10699. Its code draws negatives of other classes on the
  host, from the labels of the whole data set; here those labels exclude that
  have been seen.

  It reads (features, index) or (features, index, label); `size` must be above
  every index, or the loss is no number.

  Attributes:
    size: examples of the data set.
    negatives: how many are drawn for every example.
    width: of the embeddings.
    temperature: what scores are divided by.
    momentum: what share of a kept embedding stays.
    dtype: of its activations; its parameters and its memory are float32.
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
    """Log-scores of the student and of the teacher, less log Z."""
    sides = _nce.Sides(self.width, self.dtype, name="embed")
    student, teacher, index, label, mask = sides(x, like, mask)
    banks = {
      side: self.variable("memory", side, self._start) for side in _SIDES
    }
    labels = self.variable("memory", "label", _unknown, self.size)
    key = self.make_rng("draw") if train else jax.random.key(0)
    drawn = _nce.others(key, index, self.negatives, self.size)
    absent = _nce.alike(label, labels.value[drawn])
    found = []
    for side, embedding in (("teacher", student), ("student", teacher)):
      scores = _nce.scores(
        banks[side].value,
        embedding,
        jnp.concatenate([index[:, None], drawn], axis=1),
        temperature=self.temperature,
      )
      own, rest = scores[:, :1], jnp.where(absent, -jnp.inf, scores[:, 1:])
      found.append(jnp.concatenate([own, rest], axis=1))
    normalized = _nce.Normalized(self.size, name="z")
    found = normalized(*found, mask, train=train)
    if train and not self.is_initializing():
      for side, embedding in (("student", student), ("teacher", teacher)):
        banks[side].value = _nce.updated(
          banks[side].value,
          jax.lax.stop_gradient(embedding),
          index,
          momentum=self.momentum,
          mask=mask,
        )
      if label is not None:
        rows = jnp.where(mask, index, self.size)
        labels.value = labels.value.at[rows].set(label, mode="drop")
    return found

  def _start(self) -> Float[Array, "M W"]:
    return _nce.start(self.make_rng("params"), self.size, self.width)


_SIDES = ("student", "teacher")


def _unknown(size: int) -> Int[Array, "M"]:
  return jnp.full(size, -1, jnp.int32)
