"""Variational information distillation."""

import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import same_shape
from kdjax.numerics import match_spatial
from kdjax.types import Array


def vid(
  student: tuple[Float[Array, "B ... C"], Float[Array, "C"]],
  teacher: Float[Array, "B ... C"],
  *,
  least_variance: float = 1e-5,
) -> Float[Array, "B"]:
  """Maximises the teacher's likelihood under a Gaussian from the student.

    loss_i = 1/N sum_n 1/2 ((teacher_in - mean_in)^2 / v_c + log v_c)
    v_c = max(variance_c, least_variance)

  over all N values of an example, each with the variance of its channel: the
  negative log-likelihood, up to a constant. The larger of two maps is
  average-pooled to the size of the smaller one.

  Ahn et al., "Variational Information Distillation for Knowledge Transfer",
  CVPR 2019, arXiv:1904.05835, Eq. (4) and (5).
  Differs from the authors' code: the variance comes from a head 'vid' and is
  clamped to a minimum, so that any value is valid.

  Args:
    student: the predicted mean, and a variance per channel.
    teacher: features or maps with the channels of the mean.
    least_variance: the minimum variance.
  """
  mean, variance = student
  if mean.ndim == teacher.ndim == 4:
    mean, teacher = match_spatial(mean, teacher)
  same_shape(student=mean, teacher=teacher)
  square = (teacher.astype(jnp.float32) - mean.astype(jnp.float32)) ** 2
  variance = jnp.maximum(variance.astype(jnp.float32), least_variance)
  variance = variance.reshape((1,) * (mean.ndim - 1) + (-1,))
  loss = 0.5 * (square / variance + jnp.log(variance))
  return jnp.mean(loss, axis=tuple(range(1, mean.ndim)))
