"""Multi-level logit distillation: class level."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.errors import UserError, same_shape
from kdjax.losses._batch import gram, selected_mean, zero_masked
from kdjax.numerics import present_classes
from kdjax.types import Array


def mlkd_class(
  student: Float[Array, "B K"],
  teacher: Float[Array, "B K"],
  mask: Bool[Array, "B"] | None = None,
  *,
  temperatures: tuple = (4.0, 3.0, 5.0, 2.0, 6.0),
  select: str = "all",
) -> Float[Array, ""]:
  """Matches the Gram matrix of softened probabilities over the classes.

    loss = 1/K sum_T sum_k w_k sum_l ((Q^T Q)_kl - (P^T P)_kl)^2
    P = softmax(teacher / T),  Q = softmax(student / T)
    w_k = 1                                           "all"
    w_k = [sum_i softmax(teacher_i)_k <= its median]  "low"
    w_k = the mean of "low" over the classes          "share"

  A loss over the whole batch; it grows with the batch size.

  Jin, Wang and Lin, "Multi-Level Logit Distillation", CVPR 2023, Section 3.
  Differs from the authors' code: it is select="share" (see `mlkd_instance`).

  Args:
    student: logits.
    teacher: logits.
    mask: True for valid examples; None is all.
    temperatures: all T.
    select: the weights: "all", "low" or "share".
  """
  if select not in ("all", "low", "share"):
    raise UserError(f"No select '{select}'.", exists=("all", "low", "share"))
  same_shape(student=student, teacher=teacher)
  valid, student, teacher = zero_masked(mask, student, teacher)
  soft = lambda logits, T: jnp.where(
    valid[:, None], jax.nn.softmax(logits / T), 0.0
  )
  gaps = [
    gram(soft(student, T).T) - gram(soft(teacher, T).T) for T in temperatures
  ]
  rows = sum(jnp.sum(gap**2, axis=1) for gap in gaps)
  confidence = jnp.sum(soft(teacher, 1.0), axis=0)
  # A class that no valid example has is no class.
  present = present_classes(student, teacher) & valid[:, None]
  known = jnp.any(present, axis=0)
  return selected_mean(rows, confidence, known, select)
