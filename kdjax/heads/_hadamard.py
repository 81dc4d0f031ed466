"""Orthogonal matrices that give all channels one variance."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from kdjax.types import Array


def hadamard(n: int) -> np.ndarray | None:
  """A matrix of 1 and -1 with orthogonal rows, f32 [n n]; None if not known.

  Built from those of order 1 and 2, Paley's (of order q + 1 and 2 (q + 1) for
  a prime q) and their Kronecker products (Sylvester). Orders above 2 are
  multiples of 4. Of those up to 256 it lacks 11 of 64, such as 52 and 100.
  """
  if n <= 2:
    return np.array([[1, 1], [1, -1]], np.float32)[:n, :n]
  if n % 4:
    return None
  for q, make in ((n - 1, _paley_of_3), (n // 2 - 1, _paley_of_1)):
    if _is_prime(q) and q % 4 == (3 if make is _paley_of_3 else 1):
      return make(q).astype(np.float32)
  for part in (2, *range(4, math.isqrt(n) + 1, 4)):
    if n % part == 0:
      pair = hadamard(part), hadamard(n // part)
      if pair[0] is not None and pair[1] is not None:
        return np.kron(*pair)
  return None


def equal_diagonal(values: Float[Array, "C"]) -> Float[Array, "C C"]:
  """An orthogonal Q so that Q diag(values) Q^T has an equal diagonal.

  It exists for every C (Schur and Horn), and depends on the values: C - 1
  rotations of two axes, each of the smallest with the largest that are left,
  so that the first becomes the mean.

  Bendel and Mickey, "Population Correlation Matrices for Sampling Experiments",
  Communications in Statistics 7(2), 1978.
  """
  C = values.shape[0]
  mean = jnp.mean(values)

  def rotate(_, carry):
    matrix, diagonal, left = carry
    low = jnp.argmin(jnp.where(left, diagonal, jnp.inf))
    high = jnp.argmax(jnp.where(left, diagonal, -jnp.inf))
    gap = diagonal[high] - diagonal[low]
    share = jnp.where(gap > 0, (mean - diagonal[low]) / gap, 0.0)
    share = jnp.clip(share, 0.0, 1.0)
    cosine, sine = jnp.sqrt(1.0 - share), jnp.sqrt(share)
    first, second = matrix[low], matrix[high]
    turned = matrix.at[low].set(cosine * first + sine * second)
    turned = turned.at[high].set(cosine * second - sine * first)
    # Equal values need no rotation, and one axis alone cannot have one.
    matrix = jnp.where(low == high, matrix, turned)
    rest = diagonal[low] + diagonal[high] - mean
    diagonal = diagonal.at[high].set(
      jnp.where(low == high, diagonal[high], rest)
    )
    return matrix, diagonal, left & (jnp.arange(C) != low)

  start = (jnp.eye(C), values, jnp.ones(C, bool))
  return jax.lax.fori_loop(0, C - 1, rotate, start)[0]


def _paley_of_3(q: int) -> np.ndarray:
  """Paley's first construction, of order q + 1, for a prime q = 3 mod 4."""
  skew = np.zeros((q + 1, q + 1))
  skew[0, 1:], skew[1:, 0] = 1, -1
  skew[1:, 1:] = _jacobsthal(q)
  return skew + np.eye(q + 1)


def _paley_of_1(q: int) -> np.ndarray:
  """Paley's second construction, of order 2 (q + 1), for q = 1 mod 4."""
  conference = np.zeros((q + 1, q + 1))
  conference[0, 1:] = conference[1:, 0] = 1
  conference[1:, 1:] = _jacobsthal(q)
  return np.kron(conference, [[1, 1], [1, -1]]) + np.kron(
    np.eye(q + 1), [[1, -1], [-1, -1]]
  )


def _jacobsthal(q: int) -> np.ndarray:
  """Whether i - j is a square modulo q: 1, or -1, 0 on the diagonal."""
  squares = {i * i % q for i in range(1, q)}
  sign = np.array([0, *(1 if i in squares else -1 for i in range(1, q))])
  index = np.arange(q)
  return sign[(index[:, None] - index[None]) % q]


def _is_prime(q: int) -> bool:
  return q > 1 and all(q % p for p in range(2, math.isqrt(q) + 1))
