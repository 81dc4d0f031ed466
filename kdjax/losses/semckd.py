"""Semantic calibration: every layer of the student learns from every layer."""

import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import ShapeError, same_shape
from kdjax.types import Array


def semckd(
  student: tuple[Float[Array, "B ..."], ...],
  teacher: tuple[Float[Array, "B ..."], ...],
  weights: tuple[Float[Array, "B"], ...],
  *,
  layers: int = 1,
) -> Float[Array, "B"]:
  """Matches pairs of layers, each example with its own weight of each pair.

    loss_i = 1/M sum_p weights_pi 1/N sum_n (student_pin - teacher_pin)^2

  over the pairs p = (layer of the student, layer of the teacher), and all N
  numbers of a layer; M is `layers`.

  Chen et al., "Cross-Layer Distillation with Semantic Calibration", AAAI 2021,
  arXiv:2012.03236, Eq. (6).
  Differs from the authors' code: theirs has `layers` of the student, the paper
  a sum.

  Args:
    student: one map for each pair, of the shape of the teacher's.
    teacher: one map for each pair.
    weights: of each pair; those of one student layer add up to one.
    layers: what the sum is divided by: 1, or how many layers the student has.
  """
  lengths = {len(student), len(teacher), len(weights)}
  if len(lengths) > 1:
    raise ShapeError(
      f"There are {len(student)} student maps, {len(teacher)} teacher maps and"
      f" {len(weights)} weights.",
      "They must be as many: one for each pair of layers.",
    )
  return (
    sum(
      weight.astype(jnp.float32) * _distance(one, other)
      for one, other, weight in zip(student, teacher, weights, strict=True)
    )
    / layers
  )


def _distance(
  student: Float[Array, "B ..."], teacher: Float[Array, "B ..."]
) -> Float[Array, "B"]:
  same_shape(student=student, teacher=teacher)
  gap = student.astype(jnp.float32) - teacher.astype(jnp.float32)
  return jnp.mean(gap**2, axis=tuple(range(1, gap.ndim)))
