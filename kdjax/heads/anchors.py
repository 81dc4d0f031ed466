"""Similarities of student and teacher to a queue of teacher embeddings."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.errors import UserError
from kdjax.heads import _nce
from kdjax.heads.memory_queue import queue_rows
from kdjax.numerics import l2_normalize
from kdjax.types import Array


class Head(nn.Module):
  """Cosines of an example's embeddings with those of recent examples.

    student_i = [cos(f(x_i), t_i), cos(f(x_i), q_1), .., cos(f(x_i), q_M)]
    teacher_i = [cos(t_i, t_i),    cos(t_i, q_1),    .., cos(t_i, q_M)]

  t_i is the teacher's embedding of the example, q the queue of its embeddings
  of earlier batches, and f a linear layer, ReLU, and a linear layer to the
  teacher's width. In training the batch then replaces the oldest entries, which
  are random at the start. With two queues, the student's cosines are with its
  own earlier f(x), and with its own embedding in column 0.

  Fang et al., "SEED: Self-supervised Distillation For Visual Representation",
  ICLR 2021, arXiv:2101.04731, Section 3.2; two queues: Koohpayegani, Tejankar
  and Pirsiavash, "CompRess: Self-Supervised Learning by Compressing
  Representations", NeurIPS 2020, arXiv:2010.14713, Section 3, without the
  average of the student that fills its queue there.

  Attributes:
    size: M, the number of stored embeddings.
    two_queues: whether the student has a queue of its own.
    hidden: width of f's hidden layer; None is that of `x`.
    dtype: of the layers; parameters and memory are float32.
  """

  size: int = 65536
  two_queues: bool = False
  hidden: int | None = None
  dtype: Any = jnp.float32

  both = True
  gathered = True

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "B D"],
    like: Float[Array, "B D_like"] | None = None,
    *,
    train: bool = False,
    mask: Bool[Array, "B"] | None = None,
  ) -> tuple[Float[Array, "B N"], Float[Array, "B N"]]:
    """The cosines of the student and of the teacher, N = M + 1.

    Args:
      x: embeddings of the student.
      like: embeddings of the teacher.
      train: whether the batch enters the queue.
      mask: True for valid examples; others do not enter it.
    """
    if like is None:
      raise UserError(
        "A head 'anchors' has no teacher's embedding on its other side.",
        "Set what the argument 'teacher' of its term reads.",
      )
    valid = jnp.ones(len(x), bool) if mask is None else jnp.asarray(mask)
    clean = lambda rows: jnp.where(valid[:, None], rows, 0)
    hidden = x.shape[-1] if self.hidden is None else self.hidden
    dense = lambda width, name: nn.Dense(width, dtype=self.dtype, name=name)
    width = like.shape[-1]
    student = nn.relu(dense(hidden, "hidden")(clean(x)))
    student = l2_normalize(dense(width, "project")(student))
    teacher = l2_normalize(clean(like))
    names = ("teacher", "student") if self.two_queues else ("teacher",)
    queues = {
      name: self.variable("memory", name, self._start, width) for name in names
    }
    pointer = self.variable("memory", "pointer", jnp.zeros, (), jnp.int32)
    own = student if self.two_queues else teacher
    sides = (
      (student, own, queues.get("student", queues["teacher"]).value),
      (teacher, teacher, queues["teacher"].value),
    )
    cosines = tuple(_cosines(*side) for side in sides)
    if train and not self.is_initializing():
      rows, pointer.value = queue_rows(pointer.value, valid, self.size)
      for name, new in (("teacher", teacher), ("student", student)):
        if name in queues:
          new = jax.lax.stop_gradient(new)
          queues[name].value = queues[name].value.at[rows].set(new, mode="drop")
    return cosines

  def _start(self, width: int) -> Float[Array, "M W"]:
    return l2_normalize(
      _nce.initial_rows(self.make_rng("params"), self.size, width)
    )


def _cosines(
  embedding: Float[Array, "B W"],
  own: Float[Array, "B W"],
  queue: Float[Array, "M W"],
) -> Float[Array, "B N"]:
  """Products with the example's own anchor, then with the queue."""
  first = jnp.sum(embedding * own, axis=1, keepdims=True)
  others = jnp.einsum("bw,mw->bm", embedding, queue, precision=_nce.EXACT)
  return jnp.concatenate([first, others], axis=1)
