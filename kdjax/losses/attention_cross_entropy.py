"""Cross-entropy of attention."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.errors import same_shape
from kdjax.types import Array


def attention_cross_entropy(
  student: Float[Array, "B _ T T"],
  teacher: Float[Array, "B _ T T"],
  mask: Bool[Array, "B T"] | None = None,
  *,
  floor: float | None = None,
  averaged: bool = False,
) -> Float[Array, "B T"]:
  """Matches where each token looks, in every head, with the teacher's.

    loss_iq = -1/M sum_hk p_ihqk log softmax(student_ihq)_k
    p_ihq = softmax(teacher_ihq),  0 where teacher_ihqk <= floor

  over M heads h and the keys k that the mask leaves; 0 at queries q that it
  does not.

  Yang et al., "TextBrewer: An Open-Source Knowledge Distillation Toolkit for
  Natural Language Processing", ACL 2020, arXiv:2002.12620, its `att_ce` and
  `att_ce_mean`.
  Differs from the authors' code: it does not; theirs has the floor -0.001 where
  there is no mask, and none where there is. As there, each softmax is over all
  keys, and what lies on padding is left out of the sum alone.

  Args:
    student: scores of every head, before the softmax.
    teacher: the same, of as many heads unless they are averaged.
    mask: True at tokens, False at padding; None is all tokens.
    floor: keys whose score, in the teacher, is not above it have no part in
      the sum; None is no floor.
    averaged: whether scores are averaged over heads first.
  """
  student = _scores(student, averaged)
  teacher = _scores(teacher, averaged)
  same_shape(student=student, teacher=teacher)
  p = jax.nn.softmax(teacher)
  if floor is not None:
    p = jnp.where(teacher <= floor, 0.0, p)
  parts = p * jax.nn.log_softmax(student)
  if mask is not None:
    both = mask[:, None, :, None] & mask[:, None, None, :]
    parts = jnp.where(both, parts, 0.0)
  return -jnp.mean(jnp.sum(parts, axis=-1), axis=1)


def _scores(scores, averaged) -> Float[Array, "B M T _"]:
  """Scores in float32, of all heads or of their mean."""
  scores = scores.astype(jnp.float32)
  return jnp.mean(scores, axis=1, keepdims=True) if averaged else scores
