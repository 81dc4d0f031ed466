"""Cross-entropy between attention distributions."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.errors import same_shape
from kdjax.numerics import times_log
from kdjax.types import Array


def attention_cross_entropy(
  student: Float[Array, "B _ T T"],
  teacher: Float[Array, "B _ T T"],
  mask: Bool[Array, "B T"] | None = None,
  *,
  floor: float | None = None,
  averaged: bool = False,
) -> Float[Array, "B T"]:
  """Matches the attention distribution of each token in each head.

    loss_iq = -1/M sum_hk p_ihqk log softmax(student_ihq)_k
    p_ihq = softmax(teacher_ihq),  0 where teacher_ihqk <= floor

  over M heads h and the unmasked keys k; 0 at masked queries q.

  Yang et al., "TextBrewer: An Open-Source Knowledge Distillation Toolkit for
  Natural Language Processing", ACL 2020, arXiv:2002.12620, its `att_ce` and
  `att_ce_mean`.
  Differs from the authors' code: it does not; there the floor is -0.001 without
  a mask, and None with one. As there, each softmax is over all keys, and
  padding is left out of the sum only.

  Args:
    student: attention scores of each head, before the softmax.
    teacher: the same, with as many heads unless `averaged`.
    mask: True at tokens, False at padding; None is all tokens.
    floor: keys with a teacher's score at or below it are left out of the sum;
      None is no floor.
    averaged: whether to average scores over heads first.
  """
  student = _scores(student, averaged)
  teacher = _scores(teacher, averaged)
  same_shape(student=student, teacher=teacher)
  p = jax.nn.softmax(teacher)
  if floor is not None:
    p = jnp.where(teacher <= floor, 0.0, p)
  parts = times_log(p, jax.nn.log_softmax(student))
  if mask is not None:
    both = mask[:, None, :, None] & mask[:, None, None, :]
    parts = jnp.where(both, parts, 0.0)
  return -jnp.mean(jnp.sum(parts, axis=-1), axis=1)


def _scores(scores, averaged) -> Float[Array, "B M T _"]:
  """Scores in float32, per head or averaged over heads."""
  scores = scores.astype(jnp.float32)
  return jnp.mean(scores, axis=1, keepdims=True) if averaged else scores
