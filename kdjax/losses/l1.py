"""Mean absolute error."""

import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import UserError, same_shape
from kdjax.types import Array


def l1(
  student: Float[Array, "B *shape"],
  teacher: Float[Array, "B *shape"],
  *,
  reduction: str = "mean",
) -> Float[Array, "B"]:
  """Matches outputs elementwise, by absolute error.

    loss_i = 1/N sum_n |student_in - teacher_in|    "mean"
    loss_i =     sum_n |student_in - teacher_in|    "sum"

  with n over all N values of an example: D, T D or H W C.

  Kim, Park and Kwak, "Paraphrasing Complex Network: Network Compression via
  Factor Transfer", NeurIPS 2018, arXiv:1802.04977, the distance with p = 1.
  Differs from the authors' code: it normalises both sides first.

  Args:
    student: logits or features.
    teacher: the same.
    reduction: over all axes but the batch, "mean" or "sum".
  """
  if reduction not in ("mean", "sum"):
    raise UserError(f"No reduction '{reduction}'.", exists=("mean", "sum"))
  same_shape(student=student, teacher=teacher)
  difference = student.astype(jnp.float32) - teacher.astype(jnp.float32)
  # Not jnp.abs, which has gradient 1, not 0, at 0.
  absolute = difference * jnp.sign(difference)
  reduce = jnp.mean if reduction == "mean" else jnp.sum
  return reduce(absolute, axis=tuple(range(1, student.ndim)))
