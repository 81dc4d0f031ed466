"""Prime-aware distillation: features with a learned variance."""

import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import same_shape
from kdjax.types import Array


def pad(
  student: tuple[Float[Array, "B *T D"], Float[Array, "B *T D"]],
  teacher: Float[Array, "B *T D"],
  *,
  eps: float = 1e-6,
) -> Float[Array, "B"]:
  """Matches features, down-weighted by the student's predicted variance.

    loss_i = 1/D sum_d (teacher_id - mean_id)^2 / (eps + exp(v_id)) + v_id
    (mean, v) = student

  with v the log-variance: twice the negative log-likelihood of a Gaussian, up
  to a constant.

  Zhang et al., "Prime-Aware Adaptive Distillation", ECCV 2020,
  arXiv:2008.01458, Eq. (6).
  Differs from the authors' code: it is not public; this follows torchdistill.

  Args:
    student: features and their log-variances, from the head 'variance'.
    teacher: features.
    eps: added to the variance.
  """
  mean, log_variance = student
  same_shape(student=mean, log_variance=log_variance, teacher=teacher)
  gap = teacher.astype(jnp.float32) - mean.astype(jnp.float32)
  log_variance = log_variance.astype(jnp.float32)
  # log(eps + exp(v)), with a finite gradient where exp(v) overflows.
  shifted = jnp.logaddexp(jnp.log(eps), log_variance)
  loss = gap**2 * jnp.exp(-shifted) + log_variance
  return jnp.mean(loss, axis=tuple(range(1, loss.ndim)))
