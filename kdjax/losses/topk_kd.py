"""Knowledge distillation among the teacher's best classes."""

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
  """Matches softened classes among those that the teacher finds most likely.

    loss_i = T^2 sum_{k in S_i} p_ik (log p_ik - log q_ik)
    S_i = the top classes of teacher_i
    p_i = softmax over k in S_i of teacher_ik / T,  q_i likewise of student_ik

  Both are renormalised over S_i: what the student gives to other classes is
  neither seen nor pulled. What large vocabularies need, whose teachers store
  no more than these.

  Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network",
  arXiv:1503.02531, Eq. (1), over part of the classes, as public code for
  language models has it (2024).
  Differs from the authors' code: it does not, but that more classes than there
  are is all of them.

  Args:
    student: logits [B K] or [B T K].
    teacher: the same.
    top: how many classes S_i has.
    temperature: T, of both.
    scale: with the factor T^2.
  """
  same_shape(student=student, teacher=teacher)
  best, places = jax.lax.top_k(teacher, min(top, teacher.shape[-1]))
  same = jnp.take_along_axis(student, places, axis=-1)
  return kd(same, best, temperature=temperature, scale=scale)
