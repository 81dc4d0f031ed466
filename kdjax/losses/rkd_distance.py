"""Distances between the examples of a batch."""

import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.losses._relations import count, over, rows, shown, smooth_l1, squares
from kdjax.numerics import root
from kdjax.types import Array


def rkd_distance(
  student: Float[Array, "B D *map"],
  teacher: Float[Array, "B D_teacher *map_teacher"],
  mask: Bool[Array, "B"] | None = None,
  *,
  squared: bool = False,
  eps: float = 1e-12,
) -> Float[Array, ""]:
  """Matches how far apart the examples of the batch are.

    loss = 1/B^2 sum_ij huber(s_ij / mean(s) - t_ij / mean(t))
    s_ij = |student_i - student_j|,  t_ij = |teacher_i - teacher_j|

  with huber(x) = x^2 / 2 up to |x| = 1 and |x| - 1/2 beyond, and the mean over
  the pairs of two different examples.

  Park et al., "Relational Knowledge Distillation", CVPR 2019,
  arXiv:1904.05068, Eqs. (5) to (7).
  Differs from the authors' code: it does not; the mean of theirs is over the
  distances above 0, which are the same pairs, as none of them is below eps.

  Args:
    student: features of any shape.
    teacher: features of any shape.
    mask: examples that count.
    squared: whether distances stay squared, an option of mdistiller's.
    eps: the least squared distance of two different examples.
  """
  mask = shown(student, mask)
  n = count(mask)
  apart = jnp.maximum(n * (n - 1.0), 1.0)

  def relative(x):
    distance = squares(rows(x, mask), mask, eps)
    if not squared:
      distance = root(distance)
    return over(distance, jnp.sum(distance) / apart)

  return jnp.sum(smooth_l1(relative(student) - relative(teacher))) / n**2
