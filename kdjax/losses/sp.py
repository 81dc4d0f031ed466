"""Similarities of the examples of a batch."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.errors import UserError
from kdjax.losses._relations import count, rows, shown
from kdjax.numerics import magnitude, unit
from kdjax.types import Array


def sp(
  student: Float[Array, "B D *map"],
  teacher: Float[Array, "B D_teacher *map_teacher"],
  mask: Bool[Array, "B"] | None = None,
  *,
  norm: str = "l2",
  reduction: str = "mean",
) -> Float[Array, ""]:
  """Matches which examples of the batch are alike to the student.

    loss = 1/B^2 sum_ij (S_ij - T_ij)^2    "mean"
    loss =       sum_ij (S_ij - T_ij)^2    "sum"
    S_i = G_i / |G_i|,  G_ij = sum_d student_id student_jd,  T likewise

  with d over all numbers of an example, |G_i| the root of the sum of squares
  ("l2") or the sum of magnitudes ("l1") of a row. An example that is all zero
  is like no other: its row is 0.

  Tung and Mori, "Similarity-Preserving Knowledge Distillation", ICCV 2019,
  arXiv:1907.09682, Eqs. (2) to (4).
  Differs from the authors' code: there is none. RepDistiller's is the default;
  torchdistill has "l1" by a misplaced argument, and "sum".

  Args:
    student: features of any shape.
    teacher: features of any shape.
    mask: examples that count.
    norm: of the rows of the similarities, "l2" or "l1".
    reduction: over all pairs, "mean" or "sum".
  """
  if norm not in ("l2", "l1"):
    raise UserError(f"No norm '{norm}'.", exists=("l2", "l1"))
  if reduction not in ("mean", "sum"):
    raise UserError(f"No reduction '{reduction}'.", exists=("mean", "sum"))
  mask = shown(student, mask)
  difference = _similarity(rows(student, mask), norm) - _similarity(
    rows(teacher, mask), norm
  )
  loss = jnp.sum(difference**2)
  return loss / count(mask) ** 2 if reduction == "mean" else loss


def _similarity(x: Float[Array, "B D"], norm: str) -> Float[Array, "B B"]:
  # The length of its own example cancels in a row. Without it squares of
  # squares of large or small features stay in the range of float32.
  gram = jnp.matmul(unit(x), x.T, precision=jax.lax.Precision.HIGHEST)
  if norm == "l2":
    return unit(gram)
  total = jnp.sum(magnitude(gram), axis=-1, keepdims=True)
  zero = total == 0.0
  return jnp.where(zero, 0.0, gram) / jnp.where(zero, 1.0, total)
