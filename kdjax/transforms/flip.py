"""An image and its mirror image."""

import jax
import jax.numpy as jnp
from jaxtyping import Key, Shaped

from kdjax.transforms._arrays import image
from kdjax.types import Array


def flip(
  key: Key[Array, ""],
  x: Shaped[Array, "H W C"],
  *,
  probability: float = 0.5,
) -> Shaped[Array, "H W C"]:
  """The image with left and right exchanged, or as it is.

  Krizhevsky, Sutskever and Hinton, "ImageNet Classification with Deep
  Convolutional Neural Networks", NIPS 2012, Section 4.1.

  Args:
    key: draws whether.
    x: an image of any type.
    probability: of the exchange.

  Raises:
    ShapeError: x is no image.
  """
  x = image(x, "flip")
  return jnp.where(jax.random.bernoulli(key, probability), x[:, ::-1], x)
