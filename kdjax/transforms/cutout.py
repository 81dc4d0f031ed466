"""An image with a hole."""

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
  """Hides a square, whose centre is any pixel of the image.

  At the edge a part of the square lies outside, so that less is hidden.
  DeVries and Taylor, "Improved Regularization of Convolutional Neural Networks
  with Cutout", 2017, arXiv:1708.04552, Section 3.2.

  Args:
    key: draws the centre.
    x: a float image.
    size: the side of the square in pixels; the paper has 16 for CIFAR-10, 8
      for CIFAR-100 and 20 for SVHN.
    fill: what the square holds; 0 is the mean behind normalize, as there.

  Raises:
    ShapeError: x is no image.
    UserError: x holds no floats.
  """
  x = floats(image(x, "cutout"), "cutout")
  height, width, _ = x.shape
  centre = jax.random.randint(key, (2,), 0, jnp.array([height, width]))
  top, left = centre - size // 2
  return jnp.where(box(height, width, top, left, (size, size)), fill, x)
