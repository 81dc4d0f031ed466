"""Probability that student and teacher place differently."""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import same_shape
from kdjax.numerics import magnitude
from kdjax.types import Array


def tvd(
  student: Float[Array, "B *T K"],
  teacher: Float[Array, "B *T K"],
  *,
  temperature: float = 1.0,
  scale: bool = True,
) -> Float[Array, "B *T"]:
  """Matches the probability of each class with the teacher's, by distance.

    loss_i = T^2 1/2 sum_k |p_ik - q_ik|
    p_i = softmax(teacher_i / T),  q_i = softmax(student_i / T)

  for every example, or every position of it: the total variation distance. It
  is never more than T^2, and has no gradient where the two are equal.

  Wen, Li, Du and Mou, "f-Divergence Minimization for Sequence-Level Knowledge
  Distillation", ACL 2023, arXiv:2307.15190, Section 3.
  Differs from the authors' code: theirs is of whole sequences; DistillKit has
  that of each position, and the factor T^2, as here.

  Args:
    student: logits.
    teacher: logits.
    temperature: T, of both.
    scale: with the factor T^2.
  """
  same_shape(student=student, teacher=teacher)
  p = jax.nn.softmax(teacher.astype(jnp.float32) / temperature)
  q = jax.nn.softmax(student.astype(jnp.float32) / temperature)
  loss = 0.5 * jnp.sum(magnitude(p - q), axis=-1)
  return loss * temperature**2 if scale else loss
