"""Ranking of the examples of a batch by their distance."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.losses._relations import count, rows, shown, squares
from kdjax.numerics import unit
from kdjax.types import Array


def dark_rank(
  student: Float[Array, "B D *map"],
  teacher: Float[Array, "B D_teacher *map_teacher"],
  mask: Bool[Array, "B"] | None = None,
  *,
  scale: float = 3.0,
  power: float = 3.0,
  length: int = 4,
  normalize: bool = False,
  eps: float = 1e-12,
) -> Float[Array, ""]:
  """Matches the order in which others come near to an example.

    loss = -1/B sum_i sum_l log(exp s_il / sum_{m >= l} exp s_im)
    s_il = -scale |student_i - student_j|^power,  j = the l-th nearest of i

  with l and m from 1 to `length`, and the nearest found by the teacher: the
  student's likelihood of the teacher's order, the hard form of DarkRank.

  Chen, Wang and Zhang, "DarkRank: Accelerating Deep Metric Learning via Cross
  Sample Similarities Transfer", AAAI 2018, arXiv:1707.01220, Section 3.3.
  Differs from the authors' code: as the one of Park et al. (RKD), whose
  constants these are. The nearest are among the others of the batch, never the
  example itself; where fewer than `length` there are, all are ranked.

  Args:
    student: features of any shape.
    teacher: features of any shape.
    mask: examples that count.
    scale: alpha of the paper.
    power: beta of the paper.
    length: how many of the nearest are ranked.
    normalize: whether features are first given length 1. Networks of metric
      learning give them so; where others do not, the powers grow large.
    eps: the least squared distance of two different examples.
  """
  mask = shown(student, mask)
  length = min(length, student.shape[0] - 1)
  if length < 1:
    return jnp.zeros(())
  features = lambda x: unit(rows(x, mask)) if normalize else rows(x, mask)
  square = squares(features(teacher), mask, eps)
  # Above 0 only between two different examples that count.
  nearness = jnp.where(square > 0.0, -square, -jnp.inf)
  found, order = jax.lax.top_k(nearness, length)
  ranked = jnp.isfinite(found)
  # A row of the matrix that picks, not a gather: in the order of the nearest.
  picked = jax.nn.one_hot(order, student.shape[0], dtype=bool)
  square = squares(features(student), mask, eps)
  square = jnp.sum(jnp.where(picked, square[:, None], 0.0), axis=-1)
  score = -scale * jnp.where(ranked, square, 1.0) ** (0.5 * power)
  # Finite, or the gradient of a sum of nothing would not be.
  score = jnp.where(ranked, score, jnp.finfo(jnp.float32).min)
  total = jax.lax.cumlogsumexp(score, axis=1, reverse=True)
  return jnp.sum(jnp.where(ranked, total - score, 0.0)) / count(mask)
