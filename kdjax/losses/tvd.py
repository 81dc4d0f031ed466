"""Total variation distance."""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import same_shape
from kdjax.numerics import safe_abs
from kdjax.types import Array


def tvd(
  student: Float[Array, "B *T K"],
  teacher: Float[Array, "B *T K"],
  *,
  temperature: float = 1.0,
  scale: bool = True,
) -> Float[Array, "B *T"]:
  """Matches probabilities by the total variation distance.

    loss_i = T^2 1/2 sum_k |p_ik - q_ik|
    p_i = softmax(teacher_i / T),  q_i = softmax(student_i / T)

  per example or position. It is at most T^2; its gradient is 0 where student
  and teacher are equal.

  Wen, Li, Du and Mou, "f-Divergence Minimization for Sequence-Level Knowledge
  Distillation", ACL 2023, arXiv:2307.15190, Section 3.
  Differs from the authors' code: it is over whole sequences; DistillKit has one
  value per position and the factor T^2, as here.

  Args:
    student: logits.
    teacher: logits.
    temperature: T of both networks.
    scale: whether to multiply by T^2.
  """
  same_shape(student=student, teacher=teacher)
  p = jax.nn.softmax(teacher.astype(jnp.float32) / temperature)
  q = jax.nn.softmax(student.astype(jnp.float32) / temperature)
  loss = 0.5 * jnp.sum(safe_abs(p - q), axis=-1)
  return loss * temperature**2 if scale else loss
