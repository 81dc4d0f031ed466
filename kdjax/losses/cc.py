"""Correlation congruence: kernel matrices over the examples of a batch."""

import math

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
from kdjax.numerics import l2_normalize, safe_sqrt
from kdjax.types import Array


def cc(
  student: Float[Array, "B D *map"],
  teacher: Float[Array, "B D_teacher *map_teacher"],
  mask: Bool[Array, "B"] | None = None,
  *,
  form: str = "gaussian",
  bandwidth: float = 0.4,
  order: int = 2,
  normalize: bool = True,
  reduction: str = "mean",
) -> Float[Array, ""]:
  """Matches the kernel matrix over all pairs of examples.

    loss = 1/B^2 sum_ij (S_ij - T_ij)^2           "mean"
    loss = 1/B^2 sqrt(sum_ij (S_ij - T_ij)^2)     "root_mean"
    loss =       sqrt(sum_ij (S_ij - T_ij)^2)     "root"
    S_ij = exp(-2 g) sum_p (2 g)^p / p! c_ij^p    "gaussian"
    S_ij = c_ij                                   "bilinear"
    c_ij = sum_d x_id x_jd,  x_i = student_i / |student_i|

  with T the same for the teacher, g the bandwidth, and p from 0 to `order`: the
  Taylor series of the Gaussian exp(-g |x_i - x_j|^2) for x of length 1.

  Peng et al., "Correlation Congruence for Knowledge Distillation", ICCV 2019,
  arXiv:1904.01802, Eqs. (4) to (10).
  Differs from the authors' code: it is not public. The default is
  Knowledge-Distillation-Zoo's; torchdistill does not normalise features, and
  has "root_mean" or "root". RepDistiller's is the loss `cc_adjacent`.

  Args:
    student: features of any shape.
    teacher: features of any shape.
    mask: True for valid examples; None is all.
    form: the kernel, "gaussian" or "bilinear".
    bandwidth: the paper's gamma, of the Gaussian kernel.
    order: of the Gaussian's Taylor series.
    normalize: whether to normalise features to length 1 first.
    reduction: over all pairs, "mean", "root_mean" or "root".
  """
  if form not in ("gaussian", "bilinear"):
    raise UserError(f"No form '{form}'.", exists=("gaussian", "bilinear"))
  if reduction not in ("mean", "root_mean", "root"):
    raise UserError(
      f"No reduction '{reduction}'.", exists=("mean", "root_mean", "root")
    )
  mask = default_mask(student, mask)

  def kernel(x):
    x = masked_rows(x, mask)
    x = l2_normalize(x) if normalize else x
    product = jnp.matmul(x, x.T, precision=jax.lax.Precision.HIGHEST)
    if form == "bilinear":
      return product
    # Horner's scheme, without p = 0: that term is equal on both sides, and
    # small products would be lost next to it in float32.
    series = jnp.zeros_like(product)
    for p in range(order, 0, -1):
      series += (2.0 * bandwidth) ** p / math.factorial(p)
      series *= product
    return jnp.exp(-2.0 * bandwidth) * series

  difference = jnp.where(
    pair_mask(mask), kernel(student) - kernel(teacher), 0.0
  )
  total = jnp.sum(difference**2)
  if reduction != "mean":
    total = safe_sqrt(total)
  return total if reduction == "root" else total / valid_count(mask) ** 2
