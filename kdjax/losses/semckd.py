"""SemCKD: all pairs of student and teacher layers, weighted by attention."""

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
  """Matches all pairs of layers, with a weight per pair and example.

    loss_i = 1/M sum_p weights_pi 1/N sum_n (student_pin - teacher_pin)^2

  over the pairs p = (student layer, teacher layer) and all N values of a layer;
  M is `layers`.

  Chen et al., "Cross-Layer Distillation with Semantic Calibration", AAAI 2021,
  arXiv:2012.03236, Eq. (6).
  Differs from the authors' code: it divides the sum by the number of student
  layers; the paper has the sum.

  Args:
    student: one map per pair, with the shape of the teacher's.
    teacher: one map per pair.
    weights: the weight of each pair; weights of one student layer sum to 1.
    layers: divides the sum: 1, or the number of student layers.
  """
  lengths = {len(student), len(teacher), len(weights)}
  if len(lengths) > 1:
    raise ShapeError(
      f"The loss 'semckd' got {len(student)} student maps, {len(teacher)}"
      f" teacher maps and {len(weights)} weights.",
      "Expected equal numbers: one per pair of layers.",
    )
  return (
    sum(
      weight.astype(jnp.float32) * _mse(learned, target)
      for learned, target, weight in zip(student, teacher, weights, strict=True)
    )
    / layers
  )


def _mse(
  student: Float[Array, "B ..."], teacher: Float[Array, "B ..."]
) -> Float[Array, "B"]:
  same_shape(student=student, teacher=teacher)
  gap = student.astype(jnp.float32) - teacher.astype(jnp.float32)
  return jnp.mean(gap**2, axis=tuple(range(1, gap.ndim)))
