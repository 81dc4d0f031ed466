"""Sobolev training: how the output changes with the input."""

import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import same_shape
from kdjax.numerics import flat, unit
from kdjax.types import Array


def sobolev(
  student: Float[Array, "B *shape"],
  teacher: Float[Array, "B *shape"],
) -> Float[Array, "B"]:
  """Matches the direction of the input's gradient with the teacher's.

    loss_i = 1/N sum_n (student_in / |student_i| - teacher_in / |teacher_i|)^2

  over all N numbers of an input. The gradients are given: of the label's logit,
  or of any other number, with respect to the input. One that is all zero stays
  zero.

  Czarnecki et al., "Sobolev Training for Neural Networks", NIPS 2017,
  arXiv:1706.04859, Eq. (1); Srinivas and Fleuret, "Knowledge Transfer with
  Jacobian Matching", ICML 2018, arXiv:1803.00443, for the unit length.
  Differs from the authors' code: there is none; as in
  Knowledge-Distillation-Zoo.

  Args:
    student: gradients of the student with respect to its input.
    teacher: the teacher's, with respect to the same.
  """
  same_shape(student=student, teacher=teacher)
  return jnp.mean((unit(flat(student)) - unit(flat(teacher))) ** 2, axis=1)
