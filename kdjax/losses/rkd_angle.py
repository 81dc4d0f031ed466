"""RKD: angles between triples of examples in a batch."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.losses._relations import (
  default_mask,
  masked_rows,
  pair_mask,
  smooth_l1,
  valid_count,
)
from kdjax.numerics import l2_normalize
from kdjax.types import Array


def rkd_angle(
  student: Float[Array, "B D *map"],
  teacher: Float[Array, "B D_teacher *map_teacher"],
  mask: Bool[Array, "B"] | None = None,
) -> Float[Array, ""]:
  """Matches the cosines of angles between all triples of examples.

    loss = 1/B^3 sum_ijk huber(s_ijk - t_ijk)
    s_ijk = sum_d e_ijd e_ikd
    e_ij = (student_j - student_i) / |student_j - student_i|

  with t the same for the teacher, and huber(x) = x^2 / 2 up to |x| = 1 and
  |x| - 1/2 beyond. Between equal examples e is 0.

  Park et al., "Relational Knowledge Distillation", CVPR 2019,
  arXiv:1904.05068, Eqs. (8) and (9).
  Differs from the authors' code: it does not.

  Args:
    student: features of any shape.
    teacher: features of any shape.
    mask: True for valid examples; None is all.
  """
  mask = default_mask(student, mask)
  both = pair_mask(mask)[..., None]

  def cosines(x):
    x = masked_rows(x, mask)
    direction = l2_normalize(jnp.where(both, x[None] - x[:, None], 0.0))
    return jnp.einsum(
      "ijd,ikd->ijk",
      direction,
      direction,
      precision=jax.lax.Precision.HIGHEST,
    )

  difference = cosines(student) - cosines(teacher)
  return jnp.sum(smooth_l1(difference)) / valid_count(mask) ** 3
