"""Features of a teacher, brought to mean 0 and variance 1."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.errors import UserError
from kdjax.heads import _hadamard
from kdjax.types import Array

FORMS = ("phi_s", "whiten", "standardize", "isotropic")


class Head(nn.Module):
  """Balances features, so that teachers of other scales weigh the same.

    y = A (x - mean),  C channels, covariance U diag(v) U^T, v_mean = mean(v)

    A = H U^T / sqrt(C v_mean)      "phi_s", with H a Hadamard matrix
    A = U diag(v)^-1/2 U^T          "whiten", with v at least epsilon v_mean
    A = diag(covariance)^-1/2       "standardize", with the same floor
    A = I / sqrt(v_mean)            "isotropic"

  All have a mean variance of 1 (those with a floor at full rank). With "phi_s"
  every channel has variance 1, and all differences are scaled by one number, so
  that a loss counts directions as the teacher does. Where no Hadamard matrix is
  known (C is no multiple of 4, or one of few others), H / sqrt(C) is replaced
  by rotations of pairs of axes that depend on v and make the variances equal.

  Mean and covariance are over all positions, padding too, of the valid examples
  that it has read in training; they are memory, not parameters. A head of an
  earlier stage that is `still` no longer changes.

  Ranzinger et al., "PHI-S: Distribution Balancing for Label-Free Multi-Teacher
  Distillation", 2024, arXiv:2410.01680, Section 3.

  Attributes:
    form: one of the above; "whiten" is the paper's ZCA.
    epsilon: the smallest variance, relative to the mean.
    dtype: no effect; features are balanced in float32.
  """

  form: str = "phi_s"
  epsilon: float = 1e-4
  dtype: Any = jnp.float32

  gathered = True

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "B *T D"],
    like: Float[Array, "..."] | None = None,
    *,
    train: bool = False,
    mask: Bool[Array, "B"] | None = None,
  ) -> Float[Array, "B *T D"]:
    """The balanced features.

    Args:
      x: features of examples, positions or maps.
      like: not read.
      train: whether the statistics are updated, before they are used.
      mask: True for valid examples; others are in no statistic.
    """
    del like
    if self.form not in FORMS:
      raise UserError(f"No form '{self.form}'.", exists=FORMS, near=self.form)
    C = x.shape[-1]
    memory = lambda name, start: self.variable("memory", name, start)
    count = memory("count", lambda: jnp.zeros((), jnp.float32))
    mean = memory("mean", lambda: jnp.zeros(C, jnp.float32))
    covariance = memory("covariance", lambda: jnp.eye(C, dtype=jnp.float32))
    matrix = memory("matrix", lambda: jnp.eye(C, dtype=jnp.float32))
    x = x.astype(jnp.float32)
    if train and not self.is_initializing():
      rows = jax.lax.stop_gradient(x).reshape(-1, C)
      valid = jnp.ones(x.shape[0], bool) if mask is None else jnp.asarray(mask)
      valid = jnp.repeat(valid, rows.shape[0] // x.shape[0])
      known = count.value, mean.value, covariance.value
      found = _updated(*known, rows, valid)
      count.value, mean.value, covariance.value = found
      fitted = _matrix(covariance.value, self.form, self.epsilon)
      # Without any valid row it stays the identity.
      matrix.value = jnp.where(count.value > 0, fitted, matrix.value)
    centred = x - mean.value.reshape((1,) * (x.ndim - 1) + (C,))
    return jnp.matmul(centred, matrix.value.T, precision=EXACT)


EXACT = jax.lax.Precision.HIGHEST


def _updated(
  count: Float[Array, ""],
  mean: Float[Array, "C"],
  covariance: Float[Array, "C C"],
  rows: Float[Array, "N C"],
  valid: Bool[Array, "N"],
) -> tuple[Float[Array, ""], Float[Array, "C"], Float[Array, "C C"]]:
  """Count, mean and covariance of all rows so far and these."""
  new = jnp.sum(valid, dtype=jnp.float32)
  some = jnp.maximum(new, 1.0)
  rows = jnp.where(valid[:, None], rows, 0.0)
  own = jnp.sum(rows, axis=0) / some
  centred = jnp.where(valid[:, None], rows - own[None], 0.0)
  spread = jnp.matmul(centred.T, centred, precision=EXACT) / some
  total = jnp.maximum(count + new, 1.0)
  share = new / total
  gap = own - mean
  between = share * (1.0 - share) * gap[:, None] * gap[None]
  covariance = (1.0 - share) * covariance + share * spread + between
  return count + new, mean + share * gap, covariance


def _matrix(
  covariance: Float[Array, "C C"], form: str, epsilon: float
) -> Float[Array, "C C"]:
  """The matrix A of a form."""
  C = covariance.shape[0]
  average = jnp.trace(covariance) / C
  constant = average <= 0.0
  average = jnp.where(constant, 1.0, average)
  if form == "isotropic":
    return jnp.eye(C) / jnp.sqrt(average)
  if form == "standardize":
    channels = jnp.maximum(jnp.diagonal(covariance), epsilon * average)
    return jnp.diag(1.0 / jnp.sqrt(channels))
  values, vectors = jnp.linalg.eigh(covariance)
  if form == "whiten":
    scale = 1.0 / jnp.sqrt(jnp.maximum(values, epsilon * average))
    return jnp.matmul(vectors * scale[None], vectors.T, precision=EXACT)
  fixed = _hadamard.hadamard(C)
  if fixed is None:
    rotation = _hadamard.equal_diagonal(jnp.maximum(values, 0.0))
  else:
    rotation = jnp.asarray(fixed) / C**0.5
  rotation = jnp.matmul(rotation, vectors.T, precision=EXACT)
  return rotation / jnp.sqrt(average)
