"""Channel-wise distillation: each channel as a distribution over positions."""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import UserError, same_shape
from kdjax.types import Array


def cwd(
  student: Float[Array, "B H W C"],
  teacher: Float[Array, "B H W C"],
  *,
  norm: str = "channel",
  divergence: str = "kl",
  temperature: float = 4.0,
) -> Float[Array, "B"]:
  """Matches each channel's distribution over positions with the teacher's.

    loss_i = T^2/C sum_c D(p_ic, q_ic)            "channel"
    p_ic = softmax_hw(teacher_ihwc / T),  q_ic = softmax_hw(student_ihwc / T)
    D(p, q) = sum_hw p (log p - log q)   "kl",   sum_hw (p - q)^2   "mse"

  or, with norm="spatial", each position's distribution over channels.

  Shu et al., "Channel-wise Knowledge Distillation for Dense Prediction", ICCV
  2021, arXiv:2011.13256, Eq. (3) to (5).
  Differs from the authors' code: it does not; there "mse" has no temperature
  (1.0 here).

  Args:
    student: feature maps, or logits of each position.
    teacher: the same.
    norm: one distribution per "channel" or per "spatial" position.
    divergence: "kl" or "mse".
    temperature: T of both networks.
  """
  if norm not in ("channel", "spatial"):
    raise UserError(f"No norm '{norm}'.", exists=("channel", "spatial"))
  if divergence not in ("kl", "mse"):
    raise UserError(f"No divergence '{divergence}'.", exists=("kl", "mse"))
  same_shape(student=student, teacher=teacher)
  axes, count = (1, 2), student.shape[3]
  if norm == "spatial":
    axes, count = (3,), student.shape[1] * student.shape[2]
  log_p, log_q = (
    jax.nn.log_softmax(x.astype(jnp.float32) / temperature, axis=axes)
    for x in (teacher, student)
  )
  if divergence == "kl":
    gap = jnp.exp(log_p) * (log_p - log_q)
  else:
    gap = (jnp.exp(log_p) - jnp.exp(log_q)) ** 2
  return temperature**2 * jnp.sum(gap, axis=(1, 2, 3)) / count
