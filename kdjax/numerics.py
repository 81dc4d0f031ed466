"""Arithmetic that losses and heads share: safe norms, and pooling of maps.

Gradients of the norms are finite where a length or a distance is zero. Pooling
brings feature maps to one height and width by shapes known at trace time.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from kdjax.types import Array


def root(x: Float[Array, "..."]) -> Float[Array, "..."]:
  """The square root; 0, with gradient 0, where x is 0 or less."""
  zero = x <= 0.0
  # Both sides are safe: the gradient of the side not taken is computed too,
  # and 0 times infinity is no 0.
  return jnp.where(zero, 0.0, jnp.sqrt(jnp.where(zero, 1.0, x)))


def unit(
  x: Float[Array, "..."], axis: int | tuple[int, ...] = -1
) -> Float[Array, "..."]:
  """x / |x| in float32 over an axis; 0, with gradient 0, where x is 0."""
  x = x.astype(jnp.float32)
  square = jnp.sum(x**2, axis=axis, keepdims=True)
  zero = square == 0.0
  return jnp.where(zero, 0.0, x) / jnp.sqrt(jnp.where(zero, 1.0, square))


def magnitude(x: Float[Array, "..."]) -> Float[Array, "..."]:
  """|x|, with gradient 0, not 1, where x is 0."""
  return x * jnp.sign(x)


def flat(x: Float[Array, "B ..."]) -> Float[Array, "B N"]:
  """Every example as one row, in float32."""
  return x.astype(jnp.float32).reshape(x.shape[0], -1)


def distances(x: Float[Array, "B D"]) -> Float[Array, "B B"]:
  """Euclidean distances of all pairs of rows; gradient 0 where rows meet."""
  difference = x[:, None] - x[None]
  return root(jnp.sum(difference**2, axis=-1))


def average_pool(
  x: Float[Array, "B H W C"], height: int, width: int
) -> Float[Array, "B h w C"]:
  """The mean over windows that cover the map, whole multiples or not.

  Window i of n spans floor(i H / n) to ceil((i + 1) H / n), as torch's
  adaptive pooling has it.
  """
  # At full precision, which accelerators do not give by default.
  return jnp.einsum(
    "hH,wW,bHWc->bhwc",
    _averages(x.shape[1], height),
    _averages(x.shape[2], width),
    x.astype(jnp.float32),
    precision=jax.lax.Precision.HIGHEST,
  )


def smaller(
  first: Float[Array, "B H W C"], second: Float[Array, "B h w D"]
) -> tuple[Float[Array, "B _ _ C"], Float[Array, "B _ _ D"]]:
  """Both maps, in float32, the larger average-pooled to the smaller."""
  return pooled(first.astype(jnp.float32), second), pooled(
    second.astype(jnp.float32), first
  )


def pooled(
  x: Float[Array, "B *shape C"], like: Float[Array, "B *shape_like D"]
) -> Float[Array, "B *shape_out C"]:
  """A map average-pooled along the axes on which `like` is smaller.

  Where `like` is a vector, it is the mean over the map; where `x` is no map, it
  stays.
  """
  if x.ndim != 4 or like.ndim not in (2, 4):
    return x
  if like.ndim == 2:
    return jnp.mean(x, axis=(1, 2))
  size = [min(pair) for pair in zip(x.shape[1:3], like.shape[1:3], strict=True)]
  if tuple(size) == x.shape[1:3]:
    return x
  return average_pool(x, *size).astype(x.dtype)


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
