"""Gaussian blur of an image."""

import jax.numpy as jnp
from jaxtyping import Float, Key

from kdjax.transforms._arrays import floats, image
from kdjax.types import Array

# Below it only the kernel's centre is not 0; avoids 0 / 0 at sigma 0.
_LEAST = 1e-2


def blur(
  key: Key[Array, ""],
  x: Float[Array, "H W C"],
  *,
  sigma: float = 1.0,
  radius: int = 4,
) -> Float[Array, "H W C"]:
  """Convolves the image with a Gaussian, mirrored at its edges.

    weight_d = exp(-d^2 / (2 sigma^2)) / sum,  d = -radius ... radius

  along the rows and then the columns. Equals `scipy.ndimage.gaussian_filter`
  with mode "mirror" and this radius. A corruption of Hendrycks and Dietterich,
  ICLR 2019, arXiv:1903.12261.

  Args:
    key: not used.
    x: a float image.
    sigma: the standard deviation in pixels; 0 changes nothing.
    radius: of the kernel in pixels; 3 sigma truncates 0.3 % of the weight.

  Raises:
    ShapeError: x is not an image.
    UserError: x holds integers.
  """
  del key
  x = floats(image(x, "blur"), "blur")
  distance = jnp.arange(-radius, radius + 1)
  weights = jnp.exp(-0.5 * (distance / jnp.maximum(sigma, _LEAST)) ** 2)
  weights /= jnp.sum(weights)
  for axis in (0, 1):
    wide = [(radius, radius) if axis == a else (0, 0) for a in range(3)]
    padded, length = jnp.pad(x, wide, mode="reflect"), x.shape[axis]
    x = sum(
      weights[offset]
      * padded[(slice(None),) * axis + (slice(offset, offset + length),)]
      for offset in range(2 * radius + 1)
    )
  return x
