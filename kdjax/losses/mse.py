"""Mean squared error."""

import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import UserError, same_shape
from kdjax.numerics import safe_sqrt
from kdjax.types import Array


def mse(
  student: Float[Array, "B *shape"],
  teacher: Float[Array, "B *shape"],
  *,
  reduction: str = "mean",
) -> Float[Array, "B"]:
  """Matches outputs elementwise, by squared error.

    loss_i = 1/N sum_n (student_in - teacher_in)^2    "mean"
    loss_i =     sum_n (student_in - teacher_in)^2    "sum"
    loss_i = (sum_n (student_in - teacher_in)^2)^1/2  "norm"

  with n over all N values of an example: D, T D or H W C.

  On logits: Ba and Caruana, "Do Deep Nets Really Need to be Deep?", NIPS 2014,
  arXiv:1312.6184, Eq. (1). On features, with a head on the student: Romero et
  al., "FitNets: Hints for Thin Deep Nets", ICLR 2015, arXiv:1412.6550, Eq. (3).
  Differs from the authors' code: both papers have half the sum; public
  implementations have the mean over all elements, the default here.

  Args:
    student: logits or features.
    teacher: the same.
    reduction: over all axes but the batch, "mean", "sum" or "norm".
  """
  if reduction not in ("mean", "sum", "norm"):
    raise UserError(
      f"No reduction '{reduction}'.", exists=("mean", "sum", "norm")
    )
  same_shape(student=student, teacher=teacher)
  difference = student.astype(jnp.float32) - teacher.astype(jnp.float32)
  reduce = jnp.mean if reduction == "mean" else jnp.sum
  loss = reduce(difference**2, axis=tuple(range(1, student.ndim)))
  return safe_sqrt(loss) if reduction == "norm" else loss
