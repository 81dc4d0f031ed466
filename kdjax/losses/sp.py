"""Similarity-preserving distillation over the examples of a batch."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.errors import UserError
from kdjax.losses._relations import default_mask, masked_rows, valid_count
from kdjax.numerics import l2_normalize, safe_abs
from kdjax.types import Array


def sp(
  student: Float[Array, "B D *map"],
  teacher: Float[Array, "B D_teacher *map_teacher"],
  mask: Bool[Array, "B"] | None = None,
  *,
  norm: str = "l2",
  reduction: str = "mean",
) -> Float[Array, ""]:
  """Matches the normalised similarity matrix over the batch.

    loss = 1/B^2 sum_ij (S_ij - T_ij)^2    "mean"
    loss =       sum_ij (S_ij - T_ij)^2    "sum"
    S_i = G_i / |G_i|,  G_ij = sum_d student_id student_jd

  with T the same for the teacher, d over all values of an example, and |G_i|
  the "l2" or "l1" norm of a row. The row of a zero example is 0.

  Tung and Mori, "Similarity-Preserving Knowledge Distillation", ICCV 2019,
  arXiv:1907.09682, Eqs. (2) to (4).
  Differs from the authors' code: it is not public. The default is
  RepDistiller's; torchdistill has "l1", by a misplaced argument, and "sum".

  Args:
    student: features of any shape.
    teacher: features of any shape.
    mask: True for valid examples; None is all.
    norm: of the rows of the similarity matrix, "l2" or "l1".
    reduction: over all pairs, "mean" or "sum".
  """
  if norm not in ("l2", "l1"):
    raise UserError(f"No norm '{norm}'.", exists=("l2", "l1"))
  if reduction not in ("mean", "sum"):
    raise UserError(f"No reduction '{reduction}'.", exists=("mean", "sum"))
  mask = default_mask(student, mask)
  difference = _similarity(masked_rows(student, mask), norm) - _similarity(
    masked_rows(teacher, mask), norm
  )
  loss = jnp.sum(difference**2)
  return loss / valid_count(mask) ** 2 if reduction == "mean" else loss


def _similarity(x: Float[Array, "B D"], norm: str) -> Float[Array, "B B"]:
  # The norm of a row's own example cancels in the normalisation. Without it,
  # fourth powers of large or small features stay in the range of float32.
  gram = jnp.matmul(l2_normalize(x), x.T, precision=jax.lax.Precision.HIGHEST)
  if norm == "l2":
    return l2_normalize(gram)
  total = jnp.sum(safe_abs(gram), axis=-1, keepdims=True)
  zero = total == 0.0
  return jnp.where(zero, 0.0, gram) / jnp.where(zero, 1.0, total)
