"""Singular vectors with fixed signs and gradients that are always finite."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.types import Array

# Of the largest eigenvalue: gaps below it are taken for rounding.
TOLERANCE = 1e-6

_einsum = functools.partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)


@jax.custom_jvp
def right_vectors(
  x: Float[Array, "B N C"],
) -> tuple[Float[Array, "B R"], Float[Array, "B C R"]]:
  """Singular values, descending, and right singular vectors as columns.

  R is the smaller of N and C. The component of a vector that is largest by
  size is positive. Where singular values meet, or are 0, the vectors have no
  derivative; the one given there leaves out the directions in question.
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


# One matrix after the other: on a CPU, LAPACK's batches wait for threads of the
# pool that they run on, and two of them at once wait for each other for ever.
_alone = jax.custom_batching.sequential_vmap(_svd)


@right_vectors.defjvp
def _derivative(primals, tangents):
  """Of the eigenvectors of X'X: dv_j = sum_i v_i (v_i' d(X'X) v_j) / gap_ij."""
  (x,), (dx,) = primals, tangents
  left, values, right = _decompose(x)
  largest = values[..., :1]
  scale = jnp.where(largest == 0.0, 1.0, largest)
  share = values / scale
  dx = dx / scale[..., None]
  # d(X'X) V, of X over its largest singular value.
  change = _einsum("bnc,bnr->bcr", dx, left * share[..., None, :])
  change += _einsum(
    "bnc,bnr->bcr", x / scale[..., None], _einsum("bnc,bcr->bnr", dx, right)
  )
  inside = _einsum("bci,bcj->bij", right, change)
  eigenvalues = share**2
  gaps = eigenvalues[..., None, :] - eigenvalues[..., :, None]
  vectors = _einsum("bci,bij->bcj", right, inside * _inverse(gaps))
  if right.shape[-1] < right.shape[-2]:
    # The rest of the space, whose eigenvalues are all 0.
    outside = change - _einsum("bci,bij->bcj", right, inside)
    vectors += outside * _inverse(eigenvalues)[..., None, :]
  stretch = _einsum("bnr,bnc,bcr->br", left, dx, right) * scale
  return (values, right), (stretch, vectors)


def _inverse(x):
  """1/x, and 0 where x is 0."""
  return x / (x**2 + TOLERANCE**2)
