"""Directions of the logits: how each pair of examples differs."""

import jax
import jax.numpy as jnp
import jax.scipy.linalg
from jaxtyping import Bool, Float

from kdjax.errors import UserError, same_shape
from kdjax.losses._batch import count, gram, low, shown
from kdjax.numerics import root, unit
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
  loss of the whole batch.

  Jeong et al., "Streamlined Knowledge Distillation", CVPR 2026, as torchdistill
  has it (yoshitomo-matsubara/torchdistill, losses/mid_level.py,
  SKDDirectionLoss), whose values could be checked for mode="paper" alone.
  Differs from the authors' code: mode="code" divides both products by K, and
  the loss by about 2: it multiplies it by the share of classes that the teacher
  gives no more probability, over the batch, than to the median class.

  Args:
    student: logits.
    teacher: logits.
    mask: the examples that count; None is all.
    tikhonov: a, which keeps the covariance invertible.
    mode: "paper" or "code".
  """
  if mode not in ("paper", "code"):
    raise UserError(f"No mode '{mode}'.", exists=("paper", "code"))
  same_shape(student=student, teacher=teacher)
  counted, student, teacher = shown(mask, student, teacher)
  K = student.shape[1]
  difference = gram(unit(student)) - gram(unit(teacher))
  if mode == "code":
    difference /= K
  # Hidden rows and columns are 0, and stay 0 once centred.
  both = counted[:, None] & counted[None]
  mean = jnp.sum(difference, axis=0, keepdims=True) / count(counted)
  centred = jnp.where(both, difference - mean, 0.0)
  covariance = gram(centred.T) / jnp.maximum(count(counted) - 1.0, 1.0)
  covariance += tikhonov * jnp.eye(len(covariance))
  with jax.default_matmul_precision("highest"):
    factor = jax.scipy.linalg.cho_factor(covariance, lower=True)
    solved = jax.scipy.linalg.cho_solve(factor, difference.T)
  distance = root(jnp.sum(difference * solved.T, axis=1))
  loss = jnp.sum(distance) / count(counted)
  if mode == "code":
    p = jnp.where(counted[:, None], jax.nn.softmax(teacher), 0.0)
    loss *= jnp.mean(low(jnp.sum(p, axis=0)).astype(jnp.float32))
  return loss
