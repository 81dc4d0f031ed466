"""Numerical helpers of losses and heads: safe norms, and pooling of maps.

Gradients of the norms are finite where a norm or a distance is zero. Pooling
brings feature maps to one height and width; all shapes are static.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

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


@jax.custom_jvp
def times_log(
  p: Float[Array, "..."], log: Float[Array, "..."]
) -> Float[Array, "..."]:
  """p times a logarithm; 0, with gradient 0, where p is 0: 0 log 0 = 0.

  The logarithm may be infinite, or a difference of two infinite ones.
  """
  # The other way round, 0 times infinity is NaN, in value and gradient.
  return p * jnp.where(p == 0.0, 0.0, log)


@times_log.defjvp
def _times_log_jvp(primals, tangents):
  p, log = primals
  safe = jnp.where(p == 0.0, 0.0, log)
  # Without a condition on the tangent of the logarithm: compilers round a
  # product and a sum together, as they would without this function.
  return p * safe, safe * tangents[0] + p * tangents[1]


def kl_divergence(
  log_p: Float[Array, "*shape K"], log_q: Float[Array, "*shape K"]
) -> Float[Array, "*shape"]:
  """sum_k p_k (log p_k - log q_k), over the last axis, with 0 log 0 = 0.

  It is infinite where q excludes (log q_k = -inf) what p does not.
  """
  return jnp.sum(times_log(jnp.exp(log_p), log_p - log_q), axis=-1)


def logsumexp(
  x: Float[Array, "..."], axis: int, keepdims: bool = False
) -> Float[Array, "..."]:
  """log(sum(exp(x))); -inf, with gradient 0, where all are -inf."""
  none = jnp.all(jnp.isneginf(x), axis=axis, keepdims=True)
  total = jax.nn.logsumexp(
    jnp.where(none, 0.0, x), axis=axis, keepdims=keepdims
  )
  none = none if keepdims else jnp.squeeze(none, axis)
  return jnp.where(none, -jnp.inf, total)


def soften(
  logits: Float[Array, "..."], temperature: Float[Array, "..."]
) -> Float[Array, "..."]:
  """Logits divided by a temperature that is learned.

  A class at -inf stays there, and gives the temperature no gradient.
  """
  excluded = jnp.isneginf(logits)
  soft = jnp.where(excluded, 0.0, logits) / temperature
  return jnp.where(excluded, -jnp.inf, soft)


def without_excluded(logits: Float[Array, "..."]) -> Float[Array, "..."]:
  """Logits in float32, 0 with gradient 0 where they are -inf."""
  logits = logits.astype(jnp.float32)
  return jnp.where(jnp.isneginf(logits), 0.0, logits)


def present_classes(
  *logits: Float[Array, "*shape K"],
) -> Bool[Array, "*shape K"]:
  """Which classes one of the networks has: a logit that is not -inf."""
  excluded = jnp.isneginf(logits[0])
  for other in logits[1:]:
    excluded = excluded & jnp.isneginf(other)
  return ~excluded


def class_share(
  present: Bool[Array, "*shape K"], left_out: int = 0
) -> Float[Array, "*shape"]:
  """All classes per class that is present: exactly 1 where all are present.

  A mean over all K classes times this is that over the present ones.

  Args:
    present: from `present_classes`.
    left_out: the number of classes that neither count has, such as a target.
  """
  count = jnp.sum(present, axis=-1, dtype=jnp.float32) - left_out
  every = max(present.shape[-1] - left_out, 1)
  return every / jnp.maximum(count, 1.0)


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
