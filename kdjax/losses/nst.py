"""Neuron selectivity transfer: MMD between channels of feature maps."""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import UserError
from kdjax.numerics import l2_normalize, match_spatial
from kdjax.types import Array


def nst(
  student: Float[Array, "B H W C"],
  teacher: Float[Array, "B H_teacher W_teacher C_teacher"],
  *,
  kernel: str = "polynomial",
  degree: int = 2,
  offset: float = 0.0,
) -> Float[Array, "B"]:
  """Matches the distribution of the student's channels with the teacher's.

    loss_i = mean_cd k(t_c, t_d) + mean_cd k(s_c, s_d) - 2 mean_cd k(s_c, t_d)
    k(x, y) = (x.y + offset)^degree   "polynomial"
    k(x, y) = x.y                     "linear"

  the squared maximum mean discrepancy, where s_c and t_d are the channels of an
  example as vectors over its H W positions, normalised to length 1 (a zero
  channel stays 0). The larger map is average-pooled to the size of the smaller
  one; channels may differ.

  Huang and Wang, "Like What You Like: Knowledge Distill via Neuron Selectivity
  Transfer", arXiv:1707.01219, 2017, Eq. (4) and (5).
  Differs from the authors' code: it is not public. It follows public
  implementations, which have the polynomial kernel only.

  Args:
    student: feature maps.
    teacher: feature maps of any size and number of channels.
    kernel: "polynomial" or "linear".
    degree: of the polynomial.
    offset: of the polynomial.
  """
  if kernel not in ("polynomial", "linear"):
    raise UserError(f"No kernel '{kernel}'.", exists=("polynomial", "linear"))
  student, teacher = match_spatial(student, teacher)
  channels = lambda x: l2_normalize(
    x.reshape(x.shape[0], -1, x.shape[-1]), axis=1
  )
  student, teacher = channels(student), channels(teacher)

  def mean(first, second):
    products = jnp.einsum(
      "bpc,bpd->bcd", first, second, precision=jax.lax.Precision.HIGHEST
    )
    if kernel == "polynomial":
      products = (products + offset) ** degree
    return jnp.mean(products, axis=(1, 2))

  return (
    mean(teacher, teacher)
    + mean(student, student)
    - 2.0 * mean(student, teacher)
  )
