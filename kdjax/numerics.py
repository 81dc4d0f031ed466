"""Numerical helpers of losses and heads: safe norms, and pooling of maps.

Gradients of the norms are finite where a norm or a distance is zero. Pooling
brings feature maps to one height and width; all shapes are static.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from kdjax.types import Array


def safe_sqrt(x: Float[Array, "..."]) -> Float[Array, "..."]:
  """The square root; 0, with gradient 0, where x is 0 or less."""
  zero = x <= 0.0
  # Both branches of `where` must be finite: JAX computes the gradient of both,
  # and 0 times infinity is NaN.
  return jnp.where(zero, 0.0, jnp.sqrt(jnp.where(zero, 1.0, x)))


def l2_normalize(
  x: Float[Array, "..."], axis: int | tuple[int, ...] = -1
) -> Float[Array, "..."]:
  """x / |x| in float32 over an axis; 0, with gradient 0, where x is 0."""
  x = x.astype(jnp.float32)
  square = jnp.sum(x**2, axis=axis, keepdims=True)
  zero = square == 0.0
  return jnp.where(zero, 0.0, x) / jnp.sqrt(jnp.where(zero, 1.0, square))


def safe_abs(x: Float[Array, "..."]) -> Float[Array, "..."]:
  """|x|, with gradient 0, not 1, where x is 0."""
  return x * jnp.sign(x)


def flatten_rows(x: Float[Array, "B ..."]) -> Float[Array, "B N"]:
  """Flattens each example to one row, in float32."""
  return x.astype(jnp.float32).reshape(x.shape[0], -1)


def average_pool(
  x: Float[Array, "B H W C"], height: int, width: int
) -> Float[Array, "B h w C"]:
  """Adaptive average pooling to a height and width.

  Window i of n is from floor(i H / n) to ceil((i + 1) H / n), as in torch's
  adaptive pooling; windows overlap where H is no multiple of n.
  """
  # Accelerators compute matrix products at lower precision by default.
  return jnp.einsum(
    "hH,wW,bHWc->bhwc",
    _pooling_weights(x.shape[1], height),
    _pooling_weights(x.shape[2], width),
    x.astype(jnp.float32),
    precision=jax.lax.Precision.HIGHEST,
  )


def match_spatial(
  first: Float[Array, "B H W C"], second: Float[Array, "B h w D"]
) -> tuple[Float[Array, "B _ _ C"], Float[Array, "B _ _ D"]]:
  """Both maps in float32, the larger average-pooled to the smaller one's size.

  Height and width are matched separately.
  """
  return pool_like(first.astype(jnp.float32), second), pool_like(
    second.astype(jnp.float32), first
  )


def pool_like(
  x: Float[Array, "B *shape C"], like: Float[Array, "B *shape_like D"]
) -> Float[Array, "B *shape_out C"]:
  """Average-pools a map along the axes on which `like` is smaller.

  If `like` is a vector [B D], the result is the mean over all positions. An `x`
  that is not a map is returned unchanged.
  """
  if x.ndim != 4 or like.ndim not in (2, 4):
    return x
  if like.ndim == 2:
    return jnp.mean(x, axis=(1, 2))
  size = [min(pair) for pair in zip(x.shape[1:3], like.shape[1:3], strict=True)]
  if tuple(size) == x.shape[1:3]:
    return x
  return average_pool(x, *size).astype(x.dtype)


def resize_nearest(
  x: Float[Array, "B H W C"], height: int, width: int
) -> Float[Array, "B height width C"]:
  """Resizes a map with nearest-neighbour interpolation.

  Position i of n is pixel floor(i H / n), as in torch.
  """
  for axis, size in ((1, height), (2, width)):
    if x.shape[axis] != size:
      pixels = np.arange(size) * x.shape[axis] // size
      x = jnp.take(x, pixels, axis=axis)
  return x


def _pooling_weights(size: int, count: int) -> np.ndarray:
  """f32 [count size]: the weight of each position in each window's mean."""
  inside = np.zeros((count, size), np.float32)
  for i in range(count):
    inside[i, i * size // count : -(-(i + 1) * size // count)] = 1.0
  return inside / inside.sum(axis=1, keepdims=True)
