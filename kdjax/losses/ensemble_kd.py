"""Knowledge distillation from an ensemble of teachers."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.errors import UserError
from kdjax.losses._teachers import (
  count_of,
  of_present,
  shares_of,
  stacked,
)
from kdjax.numerics import kl_divergence, logsumexp
from kdjax.types import Array


def ensemble_kd(
  student: Float[Array, "B K"],
  teacher: tuple[Float[Array, "B K"], ...],
  present: Bool[Array, "B N"] | None = None,
  *,
  temperature: float = 4.0,
  average: str = "probabilities",
  scale: bool = True,
  weights: tuple[float, ...] = (),
) -> Float[Array, "B"]:
  """Matches softened probabilities with the mean of several teachers.

    loss_i = T^2 sum_k p_ik (log p_ik - log q_ik),  q_i = softmax(student_i / T)
    p_i = mean over teachers m of softmax(teacher_mi / T)      "probabilities"
    p_i = softmax(mean over teachers m of teacher_mi / T)      "logits"

  The first is the teachers' arithmetic mean, the second the geometric mean. It
  is over the teachers that an example has; without any, the loss is 0.

  Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network",
  NIPS Deep Learning Workshop 2014, arXiv:1503.02531, Section 2.
  Differs from the authors' code: it is not public. One term 'kd' per teacher
  has the gradient of "probabilities" times the number of teachers. TextBrewer
  has "logits", without T^2.

  Args:
    student: logits.
    teacher: logits of each of N teachers.
    present: which teachers an example has; None: all.
    temperature: T of all networks.
    average: the mean of "probabilities" or of "logits".
    scale: whether to multiply by T^2.
    weights: of the teachers in the mean, divided by the sum of those that an
      example has; () is equal ones.
  """
  if average not in ("probabilities", "logits"):
    raise UserError(
      f"No average '{average}'.", exists=("probabilities", "logits")
    )
  logits = stacked(student, teacher, present)
  number = count_of(present, len(teacher))
  count = jnp.maximum(number, 1.0)[:, None]
  if weights:
    share = shares_of(weights, present, len(teacher))[:, :, None]
    # A mean is the sum over teachers, divided by the count.
    count = jnp.ones_like(count)
  if average == "logits":
    logits = share * logits if weights else logits
    log_p = jax.nn.log_softmax(jnp.sum(logits, axis=0) / count / temperature)
  else:
    members = jax.nn.log_softmax(logits / temperature)
    members = of_present(members, present, -jnp.inf)
    members = members + jnp.log(share) if weights else members
    log_p = logsumexp(members, axis=0) - jnp.log(count)
  log_q = jax.nn.log_softmax(student.astype(jnp.float32) / temperature)
  loss = jnp.where(number > 0, kl_divergence(log_p, log_q), 0.0)
  return loss * temperature**2 if scale else loss
