"""Knowledge distillation from several teachers at once."""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import UserError, same_shape
from kdjax.types import Array


def ensemble_kd(
  student: Float[Array, "B K"],
  teacher: tuple[Float[Array, "B K"], ...],
  *,
  temperature: float = 4.0,
  average: str = "probabilities",
  scale: bool = True,
) -> Float[Array, "B"]:
  """Matches the student's softened classes with the mean of the teachers'.

    loss_i = T^2 sum_k p_ik (log p_ik - log q_ik),  q_i = softmax(student_i / T)
    p_i = mean over teachers m of softmax(teacher_mi / T)      "probabilities"
    p_i = softmax(mean over teachers m of teacher_mi / T)      "logits"

  The first is the arithmetic mean of the teachers, the second the geometric.

  Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network",
  NIPS Deep Learning Workshop 2014, arXiv:1503.02531, Section 2.
  Differs from the authors' code: there is none. The sum of one 'kd' for each
  teacher has the gradient of "probabilities" times their number; TextBrewer
  has "logits", without T^2.

  Args:
    student: logits.
    teacher: logits of every teacher.
    temperature: T, of all.
    average: of "probabilities" or of "logits".
    scale: with the factor T^2.
  """
  if average not in ("probabilities", "logits"):
    raise UserError(
      f"No average '{average}'.", exists=("probabilities", "logits")
    )
  for one in teacher:
    same_shape(student=student, teacher=one)
  logits = jnp.stack([one.astype(jnp.float32) for one in teacher])
  if average == "logits":
    log_p = jax.nn.log_softmax(jnp.mean(logits, axis=0) / temperature)
  else:
    each = jax.nn.log_softmax(logits / temperature)
    log_p = jax.nn.logsumexp(each, axis=0) - jnp.log(float(len(teacher)))
  log_q = jax.nn.log_softmax(student.astype(jnp.float32) / temperature)
  loss = jnp.sum(jnp.exp(log_p) * (log_p - log_q), axis=-1)
  return loss * temperature**2 if scale else loss
