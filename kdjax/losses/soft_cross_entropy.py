"""Cross-entropy with softened probabilities, at a temperature per example."""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import UserError, same_shape
from kdjax.losses._classes import mean_over_classes
from kdjax.numerics import soften, times_log
from kdjax.types import Array


def soft_cross_entropy(
  student: Float[Array, "B *T K"],
  teacher: Float[Array, "B *T K"],
  temperature: Float[Array, "B"] | None = None,
  *,
  default_temperature: float = 4.0,
  scale: bool = False,
  reduction: str = "sum",
) -> Float[Array, "B *T"]:
  """Matches the student's softened probabilities, by cross-entropy.

    loss_i = - sum_k p_ik log q_ik           (times T_i^2 with `scale`)
    p_i = softmax(teacher_i / T_i),  q_i = softmax(student_i / T_i)

  per example or position. Unlike 'kd', it includes the teacher's entropy, and
  each example may have its own T_i.

  Yang et al., "TextBrewer: An Open-Source Knowledge Distillation Toolkit for
  Natural Language Processing", ACL 2020, arXiv:2002.12620, Section 3.
  Differs from the authors' code: it does not. TinyBERT (arXiv:1909.10351) has
  the same with T = 1 and the mean over classes.

  Args:
    student: logits.
    teacher: logits.
    temperature: T_i, for example from a head; None is `default_temperature`.
    default_temperature: T of all examples without `temperature`.
    scale: whether to multiply by T_i^2, which keeps the scale of the gradient
      as T changes.
    reduction: over the classes, "sum" or "mean"; a class that both exclude, at
      -inf, is not counted.
  """
  if reduction not in ("sum", "mean"):
    raise UserError(f"No reduction '{reduction}'.", exists=("sum", "mean"))
  same_shape(student=student, teacher=teacher)
  if temperature is None:
    soft = jnp.full(student.shape[0], default_temperature, jnp.float32)
  else:
    soft = temperature.astype(jnp.float32)
  soft = soft.reshape(-1, *(1,) * (student.ndim - 1))
  # Only a temperature that is read has a gradient.
  divide = jnp.divide if temperature is None else soften
  p = jax.nn.softmax(divide(teacher.astype(jnp.float32), soft))
  log_q = jax.nn.log_softmax(divide(student.astype(jnp.float32), soft))
  loss = -jnp.sum(times_log(p, log_q), axis=-1)
  if scale:
    loss *= soft[..., 0] ** 2
  if reduction == "sum":
    return loss
  return mean_over_classes(loss, student, teacher)
