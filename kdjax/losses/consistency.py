"""Mean squared error of class probabilities."""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import UserError, same_shape
from kdjax.losses._classes import mean_over_classes
from kdjax.types import Array


def consistency(
  student: Float[Array, "B *T K"],
  teacher: Float[Array, "B *T K"],
  *,
  reduction: str = "mean",
) -> Float[Array, "B *T"]:
  """Matches the student's softmax with the teacher's, by squared error.

    loss_i = 1/K sum_k (softmax(student_i)_k - softmax(teacher_i)_k)^2   "mean"
    loss_i =     sum_k (softmax(student_i)_k - softmax(teacher_i)_k)^2   "sum"

  per example or position. It is at most 2/K ("mean") or 2 ("sum"), and nearly
  ignores classes that both networks find improbable.

  Tarvainen and Valpola, "Mean Teachers Are Better Role Models", NIPS 2017,
  arXiv:1703.01780, Section 2.
  Differs from the authors' code: it does not ("mean").

  Args:
    student: logits.
    teacher: logits.
    reduction: over the classes, "mean" or "sum"; a class that both exclude, at
      -inf, is not counted.
  """
  if reduction not in ("mean", "sum"):
    raise UserError(f"No reduction '{reduction}'.", exists=("mean", "sum"))
  same_shape(student=student, teacher=teacher)
  q = jax.nn.softmax(student.astype(jnp.float32))
  p = jax.nn.softmax(teacher.astype(jnp.float32))
  loss = jnp.sum((q - p) ** 2, axis=-1)
  if reduction == "sum":
    return loss
  return mean_over_classes(loss, student, teacher)
