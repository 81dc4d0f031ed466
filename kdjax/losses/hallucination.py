"""Modality hallucination: features of a modality that is missing at test."""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import UserError, same_shape
from kdjax.types import Array


def hallucination(
  student: Float[Array, "B *shape"],
  teacher: Float[Array, "B *shape"],
  *,
  reduction: str = "sum",
) -> Float[Array, "B"]:
  """Matches the sigmoids of features.

    loss_i = sum_n (sigmoid(student_in) - sigmoid(teacher_in))^2

  with n over all values of an example: D, T D or H W C.

  Hoffman, Gupta and Darrell, "Learning with Side Information through Modality
  Hallucination", CVPR 2016; Garcia, Morerio and Murino, "Modality
  Distillation with Multiple Stream Networks for Action Recognition", ECCV 2018,
  arXiv:1806.07110, Section 3.
  Differs from the authors' code: it does not; the mean is an option.

  Args:
    student: features of the hallucination network.
    teacher: features of the network that has the modality.
    reduction: over all axes but the batch, "sum" or "mean".
  """
  if reduction not in ("sum", "mean"):
    raise UserError(f"No reduction '{reduction}'.", exists=("sum", "mean"))
  same_shape(student=student, teacher=teacher)
  active = lambda x: jax.nn.sigmoid(x.astype(jnp.float32))
  reduce = jnp.sum if reduction == "sum" else jnp.mean
  square = (active(student) - active(teacher)) ** 2
  return reduce(square, axis=tuple(range(1, student.ndim)))
