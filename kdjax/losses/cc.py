"""Correlations of the examples of a batch."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.errors import UserError
from kdjax.losses._relations import count, pairs, rows, shown
from kdjax.numerics import root, unit
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
  """Matches the correlations of all pairs of examples under a kernel.

    loss = 1/B^2 sum_ij (S_ij - T_ij)^2           "mean"
    loss = 1/B^2 sqrt(sum_ij (S_ij - T_ij)^2)     "root_mean"
    loss =       sqrt(sum_ij (S_ij - T_ij)^2)     "root"
    S_ij = exp(-2 g) sum_p (2 g)^p / p! c_ij^p    "gaussian"
    S_ij = c_ij                                   "bilinear"
    c_ij = sum_d x_id x_jd,  x_i = student_i / |student_i|,  T likewise

  with g the bandwidth and p from 0 to `order`: exp(-g |x_i - x_j|^2), a
  Gaussian, up to that order, where x has length 1.

  Peng et al., "Correlation Congruence for Knowledge Distillation", ICCV 2019,
  arXiv:1904.01802, Eqs. (4) to (10).
  Differs from the authors' code: there is none. Knowledge-Distillation-Zoo's
  is the default; torchdistill takes features as they are, and "root_mean" or
  "root". RepDistiller's is another loss, `cc_adjacent`.

  Args:
    student: features of any shape.
    teacher: features of any shape.
    mask: examples that count.
    form: of the kernel, "gaussian" or "bilinear".
    bandwidth: gamma of the paper; only of the Gaussian.
    order: of its Taylor series.
    normalize: whether features are first given length 1.
    reduction: over all pairs, "mean", "root_mean" or "root".
  """
  if form not in ("gaussian", "bilinear"):
    raise UserError(f"No form '{form}'.", exists=("gaussian", "bilinear"))
  if reduction not in ("mean", "root_mean", "root"):
    raise UserError(
      f"No reduction '{reduction}'.", exists=("mean", "root_mean", "root")
    )
  mask = shown(student, mask)

  def kernel(x):
    x = rows(x, mask)
    x = unit(x) if normalize else x
    product = jnp.matmul(x, x.T, precision=jax.lax.Precision.HIGHEST)
    if form == "bilinear":
      return product
    # Highest order first (Horner), and without p = 0, which is 1 on both sides
    # and hides small products in float32.
    series = jnp.zeros_like(product)
    for p in range(order, 0, -1):
      series += (2.0 * bandwidth) ** p / math.factorial(p)
      series *= product
    return jnp.exp(-2.0 * bandwidth) * series

  difference = jnp.where(pairs(mask), kernel(student) - kernel(teacher), 0.0)
  total = jnp.sum(difference**2)
  if reduction != "mean":
    total = root(total)
  return total if reduction == "root" else total / count(mask) ** 2
