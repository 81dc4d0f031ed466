"""Random horizontal flip of an image."""

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
  """Exchanges left and right of the image with a probability.

  Krizhevsky, Sutskever and Hinton, "ImageNet Classification with Deep
  Convolutional Neural Networks", NIPS 2012, Section 4.1.

  Args:
    key: draws whether to flip.
    x: an image of any dtype.
    probability: of a flip.

  Raises:
    ShapeError: x is not an image.
  """
  x = image(x, "flip")
  return jnp.where(jax.random.bernoulli(key, probability), x[:, ::-1], x)
