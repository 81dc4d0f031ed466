"""Colour changes of grey or RGB images in 0..1."""

import jax.numpy as jnp
from jaxtyping import Float

from kdjax.types import Array

# Weights of red, green and blue in the brightness: ITU-R BT.601.
_LUMA = (0.299, 0.587, 0.114)


def gray(x: Float[Array, "H W C"]) -> Float[Array, "H W 1"]:
  """The brightness of every pixel."""
  if x.shape[-1] == 1:
    return x
  return jnp.sum(x * jnp.array(_LUMA)[None, None], axis=-1, keepdims=True)


def blend(
  x: Float[Array, "H W C"],
  other: Float[Array, "*broadcastable"],
  factor: Float[Array, ""],
) -> Float[Array, "H W C"]:
  """`other` at factor 0, x at 1, extrapolated above; clipped to 0..1."""
  return jnp.clip(other + factor * (x - other), 0.0, 1.0)


def brightness(
  x: Float[Array, "H W C"], factor: Float[Array, ""]
) -> Float[Array, "H W C"]:
  """Black at factor 0, the image at 1, brighter above."""
  return blend(x, jnp.zeros_like(x), factor)


def contrast(
  x: Float[Array, "H W C"], factor: Float[Array, ""]
) -> Float[Array, "H W C"]:
  """The mean grey at factor 0, the image at 1, more contrast above."""
  return blend(x, jnp.full_like(x, jnp.mean(gray(x))), factor)


def saturation(
  x: Float[Array, "H W C"], factor: Float[Array, ""]
) -> Float[Array, "H W C"]:
  """The grey image at factor 0, the image at 1, more colour above."""
  return blend(x, gray(x), factor)


def hue(
  x: Float[Array, "H W C"], turns: Float[Array, ""]
) -> Float[Array, "H W C"]:
  """Rotates the hue of every pixel by a number of turns.

  Value and saturation (HSV) stay, and grey pixels do not change. With the hue h
  in sixths of a circle, V the largest channel and c = V - the smallest, a
  channel of the result is
  V - c max(0, min(k, 4 - k, 1)), k = (n + h) mod 6, n = 5, 3, 1 for R, G, B.
  Smith, "Color gamut transform pairs", SIGGRAPH 1978.
  """
  if x.shape[-1] == 1:
    return x
  red, green, blue = x[..., 0], x[..., 1], x[..., 2]
  value = jnp.max(x, axis=-1)
  chroma = value - jnp.min(x, axis=-1)
  safe = jnp.where(chroma == 0.0, 1.0, chroma)
  sixths = jnp.where(
    value == red,
    (green - blue) / safe,
    jnp.where(
      value == green, 2.0 + (blue - red) / safe, 4.0 + (red - green) / safe
    ),
  )
  k = jnp.mod(
    jnp.array([5.0, 3.0, 1.0])[None, None] + (sixths + 6.0 * turns)[..., None],
    6.0,
  )
  share = jnp.clip(jnp.minimum(k, 4.0 - k), 0.0, 1.0)
  return value[..., None] - chroma[..., None] * share
