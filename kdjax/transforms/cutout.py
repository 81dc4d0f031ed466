"""Cutout: a square of an image is hidden."""

import jax
import jax.numpy as jnp
from jaxtyping import Float, Key

from kdjax.transforms._arrays import floats, image
from kdjax.transforms._box import box
from kdjax.types import Array


def cutout(
  key: Key[Array, ""],
  x: Float[Array, "H W C"],
  *,
  size: int = 16,
  fill: float = 0.0,
) -> Float[Array, "H W C"]:
  """Hides a square with its centre at a random pixel of the image.

  The square is clipped to the image, so that less is hidden at the edge.
  DeVries and Taylor, "Improved Regularization of Convolutional Neural Networks
  with Cutout", 2017, arXiv:1708.04552, Section 3.2.

  Args:
    key: draws the centre.
    x: a float image.
    size: the side of the square in pixels; the paper uses 16 for CIFAR-10, 8
      for CIFAR-100 and 20 for SVHN.
    fill: the value in the square; 0 is the mean after normalize, as in the
      paper.

  Raises:
    ShapeError: x is not an image.
    UserError: x holds integers.
  """
  x = floats(image(x, "cutout"), "cutout")
  height, width, _ = x.shape
  centre = jax.random.randint(key, (2,), 0, jnp.array([height, width]))
  top, left = centre - size // 2
  return jnp.where(box(height, width, top, left, (size, size)), fill, x)
