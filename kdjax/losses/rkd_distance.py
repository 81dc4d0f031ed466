"""RKD: distances between pairs of examples in a batch."""

import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.losses._relations import (
  default_mask,
  masked_rows,
  safe_divide,
  smooth_l1,
  squared_distances,
  valid_count,
)
from kdjax.numerics import safe_sqrt
from kdjax.types import Array


def rkd_distance(
  student: Float[Array, "B D *map"],
  teacher: Float[Array, "B D_teacher *map_teacher"],
  mask: Bool[Array, "B"] | None = None,
  *,
  squared: bool = False,
  eps: float = 1e-12,
) -> Float[Array, ""]:
  """Matches the normalised distances between all pairs of examples.

    loss = 1/B^2 sum_ij huber(s_ij / mean(s) - t_ij / mean(t))
    s_ij = |student_i - student_j|,  t_ij = |teacher_i - teacher_j|

  with huber(x) = x^2 / 2 up to |x| = 1 and |x| - 1/2 beyond, and the mean over
  the pairs of two different examples.

  Park et al., "Relational Knowledge Distillation", CVPR 2019,
  arXiv:1904.05068, Eqs. (5) to (7).
  Differs from the authors' code: it does not. There the mean is over distances
  above 0, which are the same pairs because each is at least eps.

  Args:
    student: features of any shape.
    teacher: features of any shape.
    mask: True for valid examples; None is all.
    squared: whether to use squared distances, an option of mdistiller.
    eps: the minimum squared distance of two different examples.
  """
  mask = default_mask(student, mask)
  n = valid_count(mask)
  pair_count = jnp.maximum(n * (n - 1.0), 1.0)

  def relative(x):
    distance = squared_distances(masked_rows(x, mask), mask, eps)
    if not squared:
      distance = safe_sqrt(distance)
    return safe_divide(distance, jnp.sum(distance) / pair_count)

  return jnp.sum(smooth_l1(relative(student) - relative(teacher))) / n**2
