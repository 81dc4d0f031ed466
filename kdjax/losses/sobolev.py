"""Sobolev training: gradients of outputs with respect to the input."""

import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import same_shape
from kdjax.numerics import flatten_rows, l2_normalize
from kdjax.types import Array


def sobolev(
  student: Float[Array, "B *shape"],
  teacher: Float[Array, "B *shape"],
) -> Float[Array, "B"]:
  """Matches the direction of the input gradient with the teacher's.

    loss_i = 1/N sum_n (student_in / |student_i| - teacher_in / |teacher_i|)^2

  over all N values of an input. The arguments are gradients of the label's
  logit, or of another scalar, with respect to the input. A zero gradient stays
  zero.

  Czarnecki et al., "Sobolev Training for Neural Networks", NIPS 2017,
  arXiv:1706.04859, Eq. (1); Srinivas and Fleuret, "Knowledge Transfer with
  Jacobian Matching", ICML 2018, arXiv:1803.00443, for the normalisation.
  Differs from the authors' code: it is not public; this follows
  Knowledge-Distillation-Zoo.

  Args:
    student: gradients of the student with respect to its input.
    teacher: gradients of the teacher with respect to the same input.
  """
  same_shape(student=student, teacher=teacher)
  direction = lambda x: l2_normalize(flatten_rows(x))
  return jnp.mean((direction(student) - direction(teacher)) ** 2, axis=1)
