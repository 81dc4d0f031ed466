"""Knowledge distillation over the teacher's top-k classes."""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import same_shape
from kdjax.losses.kd import kd
from kdjax.types import Array


def topk_kd(
  student: Float[Array, "B *T K"],
  teacher: Float[Array, "B *T K"],
  *,
  top: int = 5,
  temperature: float = 2.0,
  scale: bool = True,
) -> Float[Array, "B *T"]:
  """Matches softened probabilities over the teacher's top classes.

    loss_i = T^2 sum_{k in S_i} p_ik (log p_ik - log q_ik)
    S_i = the top classes of teacher_i
    p_i = softmax over k in S_i of teacher_ik / T
    q_i = softmax over k in S_i of student_ik / T

  Both are renormalised over S_i; the student's other logits have no gradient.
  It suits large vocabularies, where only the top teacher logits are stored.

  Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network",
  arXiv:1503.02531, Eq. (1), over some of the classes, as in public code for
  language models (2024).
  Differs from the authors' code: it does not, except that a `top` above K is K.

  Args:
    student: logits [B K] or [B T K].
    teacher: the same.
    top: the number of classes in S_i.
    temperature: T of both networks.
    scale: whether to multiply by T^2.
  """
  same_shape(student=student, teacher=teacher)
  teacher_top, classes = jax.lax.top_k(teacher, min(top, teacher.shape[-1]))
  student_top = jnp.take_along_axis(student, classes, axis=-1)
  return kd(student_top, teacher_top, temperature=temperature, scale=scale)
