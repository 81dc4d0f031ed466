"""Information about the teacher that is in the student."""

import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import same_shape
from kdjax.numerics import smaller
from kdjax.types import Array


def vid(
  student: tuple[Float[Array, "B ... C"], Float[Array, "C"]],
  teacher: Float[Array, "B ... C"],
  *,
  least_variance: float = 1e-5,
) -> Float[Array, "B"]:
  """Matches a Gaussian, which the student predicts, with the teacher.

    loss_i = 1/N sum_n 1/2 ((teacher_in - mean_in)^2 / v_c + log v_c)
    v_c = max(variance_c, least_variance)

  over all N numbers of an example, each with the variance of its channel: the
  negative log-likelihood, less a constant. Of two maps, the larger is
  average-pooled to the size of the smaller.

  Ahn et al., "Variational Information Distillation for Knowledge Transfer",
  CVPR 2019, arXiv:1904.05835, Eq. (4) and (5).
  Differs from the authors' code: the variance arrives as it is, from a head
  'vid', and is cut off below, so that any number is one.

  Args:
    student: the predicted mean, and a variance for each channel.
    teacher: features, or a map, with the channels of the mean.
    least_variance: what smaller variances count as.
  """
  mean, variance = student
  if mean.ndim == teacher.ndim == 4:
    mean, teacher = smaller(mean, teacher)
  same_shape(student=mean, teacher=teacher)
  square = (teacher.astype(jnp.float32) - mean.astype(jnp.float32)) ** 2
  variance = jnp.maximum(variance.astype(jnp.float32), least_variance)
  variance = variance.reshape((1,) * (mean.ndim - 1) + (-1,))
  loss = 0.5 * (square / variance + jnp.log(variance))
  return jnp.mean(loss, axis=tuple(range(1, mean.ndim)))
