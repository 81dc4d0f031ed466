"""Rotation of an image by multiples of 90 degrees."""

import jax.numpy as jnp
from jaxtyping import Key, Shaped

from kdjax.transforms._arrays import image
from kdjax.types import Array


def rotate90(
  key: Key[Array, ""], x: Shaped[Array, "H W C"], *, turns: int = 1
) -> Shaped[Array, "H_turned W_turned C"]:
  """Rotates the image counterclockwise; an odd turn exchanges H and W.

  The task of Gidaris, Singh and Komodakis, "Unsupervised Representation
  Learning by Predicting Image Rotations", ICLR 2018, arXiv:1803.07728.
  Equals `numpy.rot90`.

  Args:
    key: not used.
    x: an image of any dtype.
    turns: the number of turns by 90 degrees; negative is clockwise.

  Raises:
    ShapeError: x is not an image.
  """
  del key
  return jnp.rot90(image(x, "rotate90"), turns)
