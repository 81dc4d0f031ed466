"""SKD: directions of logits, compared over all pairs of examples."""

import jax
import jax.numpy as jnp
import jax.scipy.linalg
from jaxtyping import Bool, Float

from kdjax.errors import UserError, same_shape
from kdjax.losses._batch import at_most_median, gram, valid_count, zero_masked
from kdjax.numerics import (
  class_share,
  l2_normalize,
  present_classes,
  safe_sqrt,
  without_excluded,
)
from kdjax.types import Array


def skd_direction(
  student: Float[Array, "B K"],
  teacher: Float[Array, "B K"],
  mask: Bool[Array, "B"] | None = None,
  *,
  tikhonov: float = 0.1,
  mode: str = "paper",
) -> Float[Array, ""]:
  """Matches the cosines of all pairs of examples, whitened over the batch.

    loss = mean_i sqrt(D_i^T (cov(D) + a I)^-1 D_i)
    D = S S^T - Z Z^T

  with S and Z the logits of student and teacher, each row of length 1, and
  cov(D) the covariance [B B] of D's columns over its rows (divided by B - 1). A
  loss over the whole batch.

  Jeong et al., "Streamlined Knowledge Distillation", CVPR 2026, as in
  torchdistill (yoshitomo-matsubara/torchdistill, losses/mid_level.py,
  SKDDirectionLoss); only mode="paper" could be checked against its values.
  Differs from the authors' code: mode="code" divides both products by K, and
  the loss by about 2: it multiplies the loss by the fraction of classes with a
  teacher's probability, over the batch, of at most the median class's.

  Args:
    student: logits; a class at -inf has no part in a direction.
    teacher: the same.
    mask: True for valid examples; None is all.
    tikhonov: a, which makes the covariance invertible.
    mode: "paper" or "code".
  """
  if mode not in ("paper", "code"):
    raise UserError(f"No mode '{mode}'.", exists=("paper", "code"))
  same_shape(student=student, teacher=teacher)
  valid, student, teacher = zero_masked(mask, student, teacher)
  K = student.shape[1]
  known = jnp.any(present_classes(student, teacher) & valid[:, None], axis=0)
  directions = (
    gram(l2_normalize(without_excluded(x))) for x in (student, teacher)
  )
  difference = next(directions) - next(directions)
  if mode == "code":
    difference = difference / K * class_share(known)
  # Masked rows and columns are 0, and stay 0 when centred.
  both = valid[:, None] & valid[None]
  mean = jnp.sum(difference, axis=0, keepdims=True) / valid_count(valid)
  centred = jnp.where(both, difference - mean, 0.0)
  covariance = gram(centred.T) / jnp.maximum(valid_count(valid) - 1.0, 1.0)
  covariance += tikhonov * jnp.eye(len(covariance))
  with jax.default_matmul_precision("highest"):
    factor = jax.scipy.linalg.cho_factor(covariance, lower=True)
    solved = jax.scipy.linalg.cho_solve(factor, difference.T)
  distance = safe_sqrt(jnp.sum(difference * solved.T, axis=1))
  loss = jnp.sum(distance) / valid_count(valid)
  if mode == "code":
    p = jnp.where(valid[:, None], jax.nn.softmax(teacher), 0.0)
    low = at_most_median(jnp.sum(p, axis=0), known)
    loss *= jnp.mean(low.astype(jnp.float32)) * class_share(known)
  return loss
