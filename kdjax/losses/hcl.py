"""ReviewKD's hierarchical context loss: maps at several resolutions."""

import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import ShapeError, same_shape
from kdjax.numerics import average_pool
from kdjax.types import Array


def hcl(
  student: tuple[Float[Array, "B _ _ _"], ...],
  teacher: tuple[Float[Array, "B _ _ _"], ...],
  *,
  levels: tuple = (4, 2, 1),
) -> Float[Array, "B"]:
  """Matches feature maps at several pooled resolutions.

    loss_i = sum_p (sum_l w_l d_l(s_pi, t_pi)) / sum_l w_l
    d_l = 1/N sum_n (pool_l(s)_n - pool_l(t)_n)^2,  w_l = 1, 1/2, 1/4, ...

  over the pairs p of maps. The first level is the unpooled maps; the next ones
  are maps pooled to l x l, for each of `levels` below the map's height.

  Chen et al., "Distilling Knowledge via Knowledge Review", CVPR 2021,
  arXiv:2104.09044, Section 3.4.
  Differs from the authors' code: it does not.

  Args:
    student: feature maps.
    teacher: feature maps of the same shapes, in the same order.
    levels: heights (and widths) of the pooled maps.
  """
  if len(student) != len(teacher):
    raise ShapeError(
      f"The loss 'hcl' got {len(student)} student maps and {len(teacher)}"
      " teacher maps.",
      "Expected equal numbers.",
    )
  return sum(
    _pair(learned, target, levels)
    for learned, target in zip(student, teacher, strict=True)
  )


def _pair(
  student: Float[Array, "B H W C"],
  teacher: Float[Array, "B H W C"],
  levels: tuple,
) -> Float[Array, "B"]:
  """The weighted mean over the levels of one pair of maps."""
  same_shape(student=student, teacher=teacher)
  gap = student.astype(jnp.float32) - teacher.astype(jnp.float32)
  loss, total, weight = jnp.mean(gap**2, axis=(1, 2, 3)), 1.0, 1.0
  for level in levels:
    if level < gap.shape[1]:
      weight /= 2.0
      # The average of a difference is the difference of the averages.
      pooled = average_pool(gap, level, level)
      loss += weight * jnp.mean(pooled**2, axis=(1, 2, 3))
      total += weight
  return loss / total
