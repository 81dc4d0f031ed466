"""Activation boundary distillation: the sign of each neuron's response."""

import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import UserError, same_shape
from kdjax.numerics import flatten_rows
from kdjax.types import Array


def ab(
  student: Float[Array, "B *shape"],
  teacher: Float[Array, "B *shape"],
  *,
  margin: float = 1.0,
  reduction: str = "sum",
) -> Float[Array, "B"]:
  """Matches the signs of the student's pre-activations with the teacher's.

    loss_i = sum_n (s_in + margin)^2   where s_in > -margin and t_in <= 0
           + sum_n (s_in - margin)^2   where s_in <= margin and t_in > 0

  with n over all N values of an example, s the student's and t the teacher's
  response before the activation function; with the reduction "mean", divided
  by N. It is a hinge loss, 0 where the student has the teacher's sign and is
  beyond the margin.

  Heo et al., "Knowledge Transfer via Distillation of Activation Boundaries
  Formed by Hidden Neurons", AAAI 2019, arXiv:1811.03233, Eq. (5).
  Differs from the authors' code: it divides the sum by 1000, and by 2 again for
  each stage before the last; here the term's weight does so.

  Args:
    student: a map before ReLU.
    teacher: a map before ReLU.
    margin: the distance from zero beyond which the loss is 0.
    reduction: over the values of an example, "sum" or "mean".
  """
  if reduction not in ("sum", "mean"):
    raise UserError(f"No reduction '{reduction}'.", exists=("sum", "mean"))
  same_shape(student=student, teacher=teacher)
  student, teacher = flatten_rows(student), flatten_rows(teacher)
  below = jnp.where(student > -margin, (student + margin) ** 2, 0.0)
  above = jnp.where(student <= margin, (student - margin) ** 2, 0.0)
  reduce = jnp.sum if reduction == "sum" else jnp.mean
  return reduce(jnp.where(teacher > 0.0, above, below), axis=-1)
