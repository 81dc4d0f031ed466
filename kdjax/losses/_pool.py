"""Maps brought to one height and width, by shapes that are known in advance."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from kdjax.types import Array


def average_pool(
  x: Float[Array, "B H W C"], height: int, width: int
) -> Float[Array, "B h w C"]:
  """The mean over windows that cover the map, whole multiples or not.

  Window i of n spans floor(i H / n) to ceil((i + 1) H / n), as torch's
  adaptive pooling has it.
  """
  rows = jnp.asarray(_windows(x.shape[1], height))
  columns = jnp.asarray(_windows(x.shape[2], width))
  average = lambda matrix: matrix / jnp.sum(matrix, axis=1, keepdims=True)
  # At full precision, which accelerators do not give by default.
  return jnp.einsum(
    "hH,wW,bHWc->bhwc",
    average(rows),
    average(columns),
    x.astype(jnp.float32),
    precision=jax.lax.Precision.HIGHEST,
  )


def smaller(
  first: Float[Array, "B H W C"], second: Float[Array, "B h w D"]
) -> tuple[Float[Array, "B _ _ C"], Float[Array, "B _ _ D"]]:
  """Both maps, in float32, the larger average-pooled to the smaller."""
  height = min(first.shape[1], second.shape[1])
  width = min(first.shape[2], second.shape[2])
  pooled = lambda x: (
    x.astype(jnp.float32)
    if x.shape[1:3] == (height, width)
    else average_pool(x, height, width)
  )
  return pooled(first), pooled(second)


def _windows(size: int, count: int) -> np.ndarray:
  """f32 [count size]: 1 where a position lies in a window."""
  inside = np.zeros((count, size), np.float32)
  for i in range(count):
    inside[i, i * size // count : -(-(i + 1) * size // count)] = 1.0
  return inside
