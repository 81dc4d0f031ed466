"""Which neurons are active, not how much."""

import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import same_shape
from kdjax.numerics import flat
from kdjax.types import Array


def ab(
  student: Float[Array, "B *shape"],
  teacher: Float[Array, "B *shape"],
  *,
  margin: float = 1.0,
) -> Float[Array, "B"]:
  """Moves the student's neurons to the side of zero where the teacher's are.

    loss_i = sum_n (s_in + margin)^2   where s_in > -margin and t_in <= 0
           + sum_n (s_in - margin)^2   where s_in <= margin and t_in > 0

  over all N numbers of an example, the student's s and the teacher's t, before
  their activation function: a hinge that is 0 where the student is beyond the
  margin, on the teacher's side.

  Heo et al., "Knowledge Transfer via Distillation of Activation Boundaries
  Formed by Hidden Neurons", AAAI 2019, arXiv:1811.03233, Eq. (5).
  Differs from the authors' code: there the sum is divided by 1000, and by two
  again for every stage further from the last; here that is the weight's.

  Args:
    student: a map before ReLU.
    teacher: a map before ReLU.
    margin: how far beyond zero is far enough.
  """
  same_shape(student=student, teacher=teacher)
  student, teacher = flat(student), flat(teacher)
  below = jnp.where(student > -margin, (student + margin) ** 2, 0.0)
  above = jnp.where(student <= margin, (student - margin) ** 2, 0.0)
  return jnp.sum(jnp.where(teacher > 0.0, above, below), axis=-1)
