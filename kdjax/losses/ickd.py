"""Correlations between the channels of a map."""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import ShapeError
from kdjax.numerics import unit
from kdjax.types import Array


def ickd(
  student: Float[Array, "B *shape C"],
  teacher: Float[Array, "B *shape_teacher C"],
  *,
  divisor: int = 1,
) -> Float[Array, "B"]:
  """Matches which channels of the student go together with the teacher's.

    loss_i = 1 / (C divisor) sum_cd (G(student_i)_cd - G(teacher_i)_cd)^2
    G(f)_c = g_c / |g_c|,  g_cd = sum_hw f_hwc f_hwd

  Where a channel is all zero, so is its row of G.

  Liu et al., "Exploring Inter-Channel Correlation for Diversity-preserved
  Knowledge Distillation", ICCV 2021, arXiv:2202.03680, Eq. (4).
  Differs from the authors' code: it does not. torchdistill divides by the size
  of the batch twice: with the mean over examples, and `divisor`.

  Args:
    student: a map [B H W C] or tokens [B T C].
    teacher: one as wide; its height and width may differ.
    divisor: of the sum, beside C: 1, or the size of a batch.
  """
  if student.shape[-1] != teacher.shape[-1]:
    raise ShapeError(
      f"The shapes of student {list(student.shape)} and teacher"
      f" {list(teacher.shape)} differ in their channels.",
      "They must be as wide: a head 'connector' on the student makes it so.",
    )
  gap = _correlation(student) - _correlation(teacher)
  return jnp.sum(gap**2, axis=(1, 2)) / (student.shape[-1] * divisor)


def _correlation(x: Float[Array, "B *shape C"]) -> Float[Array, "B C C"]:
  """The Gram matrix of the channels, every row of length one."""
  x = x.astype(jnp.float32).reshape(x.shape[0], -1, x.shape[-1])
  # The rows forget a scale that all channels share, and products of four large
  # numbers leave float32.
  scale = jnp.max(jnp.abs(x), axis=(1, 2), keepdims=True)
  x = x / jnp.where(scale == 0.0, 1.0, scale)
  gram = jnp.einsum("bnc,bnd->bcd", x, x, precision=jax.lax.Precision.HIGHEST)
  return unit(gram)
