"""Maps brought to a height and width, by shapes that are known in advance."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from kdjax.types import Array


def pooled(
  x: Float[Array, "B *shape C"], like: Float[Array, "B *shape_like D"]
) -> Float[Array, "B *shape_out C"]:
  """A map average-pooled along the axes on which `like` is smaller.

  As torch's adaptive pooling: window i of n spans floor(i H / n) to
  ceil((i + 1) H / n). What is no map, or has no map on its other side, stays.
  """
  if x.ndim != 4 or like.ndim != 4:
    return x
  size = [min(pair) for pair in zip(x.shape[1:3], like.shape[1:3], strict=True)]
  if tuple(size) == x.shape[1:3]:
    return x
  rows, columns = (
    _averages(axis, count)
    for axis, count in zip(x.shape[1:3], size, strict=True)
  )
  # At full precision, which accelerators do not give by default.
  mean = jnp.einsum(
    "hH,wW,bHWc->bhwc",
    rows,
    columns,
    x.astype(jnp.float32),
    precision=jax.lax.Precision.HIGHEST,
  )
  return mean.astype(x.dtype)


def nearest(
  x: Float[Array, "B H W C"], height: int, width: int
) -> Float[Array, "B height width C"]:
  """A map of another size: every position has its nearest pixel.

  Position i of n is pixel floor(i H / n), as torch has it.
  """
  for axis, size in ((1, height), (2, width)):
    if x.shape[axis] != size:
      pixels = np.arange(size) * x.shape[axis] // size
      x = jnp.take(x, pixels, axis=axis)
  return x


def _averages(size: int, count: int) -> np.ndarray:
  """f32 [count size]: the weight of a position in a window's mean."""
  inside = np.zeros((count, size), np.float32)
  for i in range(count):
    inside[i, i * size // count : -(-(i + 1) * size // count)] = 1.0
  return inside / inside.sum(axis=1, keepdims=True)
