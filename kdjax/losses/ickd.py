"""ICKD: inter-channel correlation of feature maps."""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import ShapeError
from kdjax.numerics import l2_normalize
from kdjax.types import Array

# Features that are all smaller are multiplied by the inverse of its square.
TINY = 2.0**-50


def ickd(
  student: Float[Array, "B *shape C"],
  teacher: Float[Array, "B *shape_teacher C"],
  *,
  divisor: int = 1,
) -> Float[Array, "B"]:
  """Matches the correlations between channels with the teacher's.

    loss_i = 1 / (C divisor) sum_cd (G(student_i)_cd - G(teacher_i)_cd)^2
    G(f)_c = g_c / |g_c|,  g_cd = sum_hw f_hwc f_hwd

  The row of a zero channel is 0 in G.

  Liu et al., "Exploring Inter-Channel Correlation for Diversity-preserved
  Knowledge Distillation", ICCV 2021, arXiv:2202.03680, Eq. (4).
  Differs from the authors' code: it does not. torchdistill divides by the batch
  size twice: with the mean over examples, and again as with `divisor`.

  Args:
    student: maps [B H W C] or tokens [B T C].
    teacher: the same with as many channels; other axes may differ.
    divisor: divides the sum, in addition to C: 1, or a batch size.
  """
  if student.shape[-1] != teacher.shape[-1]:
    raise ShapeError(
      f"The shapes of student {list(student.shape)} and teacher"
      f" {list(teacher.shape)} differ in their channels.",
      "Add a head 'connector' on the student, which maps the channels.",
    )
  gap = _correlation(student) - _correlation(teacher)
  return jnp.sum(gap**2, axis=(1, 2)) / (student.shape[-1] * divisor)


def _correlation(x: Float[Array, "B *shape C"]) -> Float[Array, "B C C"]:
  """The Gram matrix of the channels, with rows of length 1."""
  x = x.astype(jnp.float32).reshape(x.shape[0], -1, x.shape[-1])
  # Normalised rows do not depend on a common scale. Without this division the
  # products of four large values overflow float32.
  largest = lambda: jnp.max(jnp.abs(x), axis=(1, 2), keepdims=True)
  # The derivative has the square of the scale, which must not underflow.
  x *= jnp.where(largest() < TINY, 1.0 / TINY**2, 1.0)
  scale = largest()
  x = x / jnp.where(scale == 0.0, 1.0, scale)
  gram = jnp.einsum("bnc,bnd->bcd", x, x, precision=jax.lax.Precision.HIGHEST)
  return l2_normalize(gram)
