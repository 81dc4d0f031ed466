"""Where a network looks: its maps, summed over channels."""

import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import UserError
from kdjax.losses._powers import power as raised
from kdjax.losses._powers import unit
from kdjax.numerics import flat, root, smaller
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
  """Matches the places where the student's map is large with the teacher's.

    loss_i = |Q(student_i) - Q(teacher_i)|_2                   "paper"
    loss_i = 1/(H W) |Q(student_i) - Q(teacher_i)|_2^2         "code"
    Q(x) = A / (|A|_2 + eps),  A_hw = sum_c |x_hwc|^p

  The larger map is average-pooled to the size of the smaller; channels may
  differ. A map that is all zero has Q = 0.

  Zagoruyko and Komodakis, "Paying More Attention to Attention: Improving the
  Performance of Convolutional Neural Networks via Attention Transfer", ICLR
  2017, arXiv:1612.03928, Eq. (2), whose factor 1/2 is the weight's.
  Differs from the authors' code: theirs is "code", with the power of the signed
  number. The two forms differ in size by far: their weights do too.

  Args:
    student: a map.
    teacher: a map, of any size and number of channels.
    power: p.
    mode: the norm of the difference, or the mean of its square.
    signed: takes x^p for |x|^p, which differs where p is odd; p must be whole.
    eps: added to the length of a map.
  """
  if mode not in ("paper", "code"):
    raise UserError(f"No mode '{mode}'.", exists=("paper", "code"))
  attention = lambda x: unit(
    flat(jnp.sum(raised(x, power, signed), axis=-1)), eps=eps
  )
  student, teacher = smaller(student, teacher)
  square = (attention(student) - attention(teacher)) ** 2
  if mode == "paper":
    return root(jnp.sum(square, axis=-1))
  return jnp.mean(square, axis=-1)
