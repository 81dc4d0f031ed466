"""Changes of the colour of images from 0 to 1, grey or red, green and blue."""

import jax.numpy as jnp
from jaxtyping import Float

from kdjax.types import Array

# Of red, green and blue in brightness: ITU-R BT.601.
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
  """`other` at factor 0, x at 1, beyond x above; kept within 0 to 1."""
  return jnp.clip(other + factor * (x - other), 0.0, 1.0)


def brightness(
  x: Float[Array, "H W C"], factor: Float[Array, ""]
) -> Float[Array, "H W C"]:
  """Between black (0), the image (1), and brighter (above)."""
  return blend(x, jnp.zeros_like(x), factor)


def contrast(
  x: Float[Array, "H W C"], factor: Float[Array, ""]
) -> Float[Array, "H W C"]:
  """Between its mean grey (0), the image (1), and more contrast (above)."""
  return blend(x, jnp.full_like(x, jnp.mean(gray(x))), factor)


def saturation(
  x: Float[Array, "H W C"], factor: Float[Array, ""]
) -> Float[Array, "H W C"]:
  """Between grey (0), the image (1), and more colour (above)."""
  return blend(x, gray(x), factor)


def hue(
  x: Float[Array, "H W C"], turns: Float[Array, ""]
) -> Float[Array, "H W C"]:
  """Every colour moved along the circle of hues; a grey has none to move.

  In HSV: value and saturation stay. With h of a colour in sixths of a circle,
  V its largest channel and c = V - its smallest, a channel of the result is
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
