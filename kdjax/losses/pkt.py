"""Probabilistic knowledge transfer: similarities as distributions."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.errors import UserError
from kdjax.losses._relations import (
  default_mask,
  masked_rows,
  pair_mask,
  valid_count,
)
from kdjax.types import Array


def pkt(
  student: Float[Array, "B D *map"],
  teacher: Float[Array, "B D_teacher *map_teacher"],
  mask: Bool[Array, "B"] | None = None,
  *,
  eps: float = 1e-7,
  reduction: str = "mean",
) -> Float[Array, ""]:
  """Matches the similarity distribution of each example over the batch.

    loss = 1/B^2 sum_ij t_ij log((t_ij + eps) / (s_ij + eps))    "mean"
    loss =       sum_ij t_ij log((t_ij + eps) / (s_ij + eps))    "sum"
    s_ij = c_ij / sum_k c_ik,  c_ij = (1 + cos(student_i, student_j)) / 2

  and t the same for the teacher; j = i is included.

  Passalis and Tefas, "Learning Deep Representations with Probabilistic
  Knowledge Transfer", ECCV 2018, arXiv:1803.10837, Eqs. (5) to (8).
  Differs from the authors' code: it does not. The paper has the sum, the code
  the mean over all B^2 pairs, which is the default.

  Args:
    student: features of any shape.
    teacher: features of any shape.
    mask: True for valid examples; None is all.
    eps: added to probabilities and to norms.
    reduction: over all pairs, "mean" or "sum".
  """
  if reduction not in ("mean", "sum"):
    raise UserError(f"No reduction '{reduction}'.", exists=("mean", "sum"))
  mask = default_mask(student, mask)
  p = _probabilities(student, mask, eps)
  q = _probabilities(teacher, mask, eps)
  # Rows of q - p sum to 0, so subtracting them is exact. It cancels rounding
  # errors of the logarithms, which exceed the loss of a student close to the
  # teacher.
  gap = q - p
  loss = jnp.sum(q * jnp.log1p(gap / (p + eps)) - gap)
  return loss / valid_count(mask) ** 2 if reduction == "mean" else loss


def _probabilities(x, mask, eps) -> Float[Array, "B B"]:
  x = masked_rows(x, mask)
  square = jnp.sum(x**2, axis=-1, keepdims=True)
  zero = square == 0.0
  # eps is outside of the root: a zero row has gradient 0.
  length = jnp.sqrt(jnp.where(zero, 1.0, square)) + eps
  x = jnp.where(zero, 0.0, x) / length
  cosine = jnp.matmul(x, x.T, precision=jax.lax.Precision.HIGHEST)
  # Rounding may put a cosine below -1.
  similarity = jnp.where(
    pair_mask(mask), jnp.maximum(0.5 * (1.0 + cosine), 0.0), 0.0
  )
  total = jnp.sum(similarity, axis=-1, keepdims=True)
  return similarity / jnp.where(mask[:, None], total, 1.0)
