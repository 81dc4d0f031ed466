"""Knowledge distillation from an ensemble of teachers."""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import UserError, same_shape
from kdjax.numerics import kl_divergence, logsumexp
from kdjax.types import Array


def ensemble_kd(
  student: Float[Array, "B K"],
  teacher: tuple[Float[Array, "B K"], ...],
  *,
  temperature: float = 4.0,
  average: str = "probabilities",
  scale: bool = True,
) -> Float[Array, "B"]:
  """Matches softened probabilities with the mean of several teachers.

    loss_i = T^2 sum_k p_ik (log p_ik - log q_ik),  q_i = softmax(student_i / T)
    p_i = mean over teachers m of softmax(teacher_mi / T)      "probabilities"
    p_i = softmax(mean over teachers m of teacher_mi / T)      "logits"

  The first is the teachers' arithmetic mean, the second the geometric mean.

  Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network",
  NIPS Deep Learning Workshop 2014, arXiv:1503.02531, Section 2.
  Differs from the authors' code: it is not public. One term 'kd' per teacher
  has the gradient of "probabilities" times the number of teachers. TextBrewer
  has "logits", without T^2.

  Args:
    student: logits.
    teacher: logits of each teacher.
    temperature: T of all networks.
    average: the mean of "probabilities" or of "logits".
    scale: whether to multiply by T^2.
  """
  if average not in ("probabilities", "logits"):
    raise UserError(
      f"No average '{average}'.", exists=("probabilities", "logits")
    )
  for member in teacher:
    same_shape(student=student, teacher=member)
  logits = jnp.stack([member.astype(jnp.float32) for member in teacher])
  if average == "logits":
    log_p = jax.nn.log_softmax(jnp.mean(logits, axis=0) / temperature)
  else:
    members = jax.nn.log_softmax(logits / temperature)
    log_p = logsumexp(members, axis=0) - jnp.log(float(len(teacher)))
  log_q = jax.nn.log_softmax(student.astype(jnp.float32) / temperature)
  loss = kl_divergence(log_p, log_q)
  return loss * temperature**2 if scale else loss
