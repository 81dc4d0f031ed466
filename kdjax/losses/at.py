"""Attention transfer: spatial attention maps, summed over channels."""

import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import UserError
from kdjax.losses._powers import abs_power as raised
from kdjax.losses._powers import normalize
from kdjax.numerics import flatten_rows, match_spatial, safe_sqrt
from kdjax.types import Array


def at(
  student: Float[Array, "B H W C"],
  teacher: Float[Array, "B H_teacher W_teacher C_teacher"],
  *,
  power: float = 2.0,
  mode: str = "paper",
  signed: bool = False,
  eps: float = 0.0,
) -> Float[Array, "B"]:
  """Matches the student's spatial attention map with the teacher's.

    loss_i = |Q(student_i) - Q(teacher_i)|_2                   "paper"
    loss_i = 1/(H W) |Q(student_i) - Q(teacher_i)|_2^2         "code"
    Q(x) = A / (|A|_2 + eps),  A_hw = sum_c |x_hwc|^p

  The larger map is average-pooled to the size of the smaller one; channels may
  differ. A zero map has Q = 0.

  Zagoruyko and Komodakis, "Paying More Attention to Attention: Improving the
  Performance of Convolutional Neural Networks via Attention Transfer", ICLR
  2017, arXiv:1612.03928, Eq. (2); its factor 1/2 is left to the term's weight.
  Differs from the authors' code: it is mode="code" with signed=True. The two
  modes differ in scale by far and need different weights.

  Args:
    student: feature maps.
    teacher: feature maps of any size and number of channels.
    power: p.
    mode: "paper", the norm of the difference, or "code", its mean square.
    signed: whether to use x^p instead of |x|^p. They differ for odd p; p must
      be an integer.
    eps: added to the norm of a map.
  """
  if mode not in ("paper", "code"):
    raise UserError(f"No mode '{mode}'.", exists=("paper", "code"))
  attention = lambda x: normalize(
    flatten_rows(jnp.sum(raised(x, power, signed), axis=-1)), eps=eps
  )
  student, teacher = match_spatial(student, teacher)
  square = (attention(student) - attention(teacher)) ** 2
  if mode == "paper":
    return safe_sqrt(jnp.sum(square, axis=-1))
  return jnp.mean(square, axis=-1)
