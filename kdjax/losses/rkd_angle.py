"""Angles in the triangles of the examples of a batch."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.losses._relations import count, pairs, rows, shown, smooth_l1
from kdjax.numerics import unit
from kdjax.types import Array


def rkd_angle(
  student: Float[Array, "B D *map"],
  teacher: Float[Array, "B D_teacher *map_teacher"],
  mask: Bool[Array, "B"] | None = None,
) -> Float[Array, ""]:
  """Matches the angles that any three examples of the batch make.

    loss = 1/B^3 sum_ijk huber(s_ijk - t_ijk)
    s_ijk = sum_d e_ijd e_ikd
    e_ij = (student_j - student_i) / |student_j - student_i|,  t likewise

  with huber(x) = x^2 / 2 up to |x| = 1 and |x| - 1/2 beyond. Between two that
  are equal there is no direction: e is 0.

  Park et al., "Relational Knowledge Distillation", CVPR 2019,
  arXiv:1904.05068, Eqs. (8) and (9).
  Differs from the authors' code: it does not.

  Args:
    student: features of any shape.
    teacher: features of any shape.
    mask: examples that count.
  """
  mask = shown(student, mask)
  both = pairs(mask)[..., None]

  def cosines(x):
    x = rows(x, mask)
    direction = unit(jnp.where(both, x[None] - x[:, None], 0.0))
    return jnp.einsum(
      "ijd,ikd->ijk",
      direction,
      direction,
      precision=jax.lax.Precision.HIGHEST,
    )

  difference = cosines(student) - cosines(teacher)
  return jnp.sum(smooth_l1(difference)) / count(mask) ** 3
