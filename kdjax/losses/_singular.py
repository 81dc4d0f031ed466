"""Singular vectors with fixed signs and finite gradients."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.types import Array

# Gaps between eigenvalues below this fraction of the largest one are rounding.
TOLERANCE = 1e-6

_einsum = functools.partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)


@jax.custom_jvp
def right_singular_vectors(
  x: Float[Array, "B N C"],
) -> tuple[Float[Array, "B R"], Float[Array, "B C R"]]:
  """Singular values, descending, and right singular vectors as columns.

  R is the smaller of N and C. The component of a vector with the largest
  magnitude is positive. Vectors of equal or zero singular values have no
  derivative; their gradient leaves out the affected directions.
  """
  _, values, vectors = _decompose(x)
  return values, vectors


def _decompose(x):
  left, values, right = jax.lax.platform_dependent(
    x, cpu=jax.vmap(_alone), default=_svd
  )
  right = jnp.swapaxes(right, -1, -2)
  flip = jnp.max(right, axis=-2) < -jnp.min(right, axis=-2)
  sign = jnp.where(flip, -1.0, 1.0)[..., None, :]
  return left * sign, values, right * sign


def _svd(x):
  return jnp.linalg.svd(x, full_matrices=False)


# On a CPU, matrices are decomposed one at a time: LAPACK's batched call waits
# for threads of the pool that it runs on, so two of them at once deadlock.
_alone = jax.custom_batching.sequential_vmap(_svd)


@right_singular_vectors.defjvp
def _derivative(primals, tangents):
  """Derivative: dv_j = sum_i v_i (v_i' d(X'X) v_j) / gap_ij."""
  (x,), (dx,) = primals, tangents
  left, values, right = _decompose(x)
  largest = values[..., :1]
  scale = jnp.where(largest == 0.0, 1.0, largest)
  share = values / scale
  dx = dx / scale[..., None]
  # d(X'X) V, with X divided by its largest singular value.
  change = _einsum("bnc,bnr->bcr", dx, left * share[..., None, :])
  change += _einsum(
    "bnc,bnr->bcr", x / scale[..., None], _einsum("bnc,bcr->bnr", dx, right)
  )
  inside = _einsum("bci,bcj->bij", right, change)
  eigenvalues = share**2
  gaps = eigenvalues[..., None, :] - eigenvalues[..., :, None]
  vectors = _einsum("bci,bij->bcj", right, inside * _inverse(gaps))
  if right.shape[-1] < right.shape[-2]:
    # The orthogonal complement, where all eigenvalues are 0.
    outside = change - _einsum("bci,bij->bcj", right, inside)
    vectors += outside * _inverse(eigenvalues)[..., None, :]
  stretch = _einsum("bnr,bnc,bcr->br", left, dx, right) * scale
  return (values, right), (stretch, vectors)


def _inverse(x):
  """1 / x; 0 where x is 0."""
  return x / (x**2 + TOLERANCE**2)
