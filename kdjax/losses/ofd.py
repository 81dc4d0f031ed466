"""OFD (overhaul of feature distillation): a partial L2 distance before ReLU."""

import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import UserError, same_shape
from kdjax.types import Array


def ofd(
  student: Float[Array, "B H W C"],
  teacher: Float[Array, "B H W C"],
  margin: Float[Array, "C"],
  *,
  reduction: str = "sum",
) -> Float[Array, "B"]:
  """Matches feature maps before ReLU, ignoring how negative a response is.

    loss_i = sum_hwc 0               where s <= t and t <= 0
                     (s - t)^2       elsewhere
    s = student_ihwc,  t = max(teacher_ihwc, margin_c)

  The loss is 0 where the target is negative and the student is below it.

  Heo et al., "A Comprehensive Overhaul of Feature Distillation", ICCV 2019,
  arXiv:1904.01866, Eq. (2) and (5).
  Differs from the authors' code: it sums over the batch, and divides by its
  size elsewhere. "mean" is Knowledge-Distillation-Zoo's.

  Args:
    student: feature maps before ReLU.
    teacher: the same.
    margin: a negative value per channel, the minimum of the target, from a head
      'ofd_margin' or 'negative_mean'.
    reduction: over H, W and C: "sum" or "mean".
  """
  if reduction not in ("sum", "mean"):
    raise UserError(f"No reduction '{reduction}'.", exists=("sum", "mean"))
  same_shape(student=student, teacher=teacher)
  student = student.astype(jnp.float32)
  floor = margin.astype(jnp.float32)[None, None, None]
  target = jnp.maximum(teacher.astype(jnp.float32), floor)
  ignored = (student <= target) & (target <= 0.0)
  gap = jnp.where(ignored, 0.0, student - target)
  reduce = jnp.sum if reduction == "sum" else jnp.mean
  return reduce(gap**2, axis=(1, 2, 3))
