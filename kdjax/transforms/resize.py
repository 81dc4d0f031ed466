"""Bilinear resize of an image."""

import jax
from jaxtyping import Float, Key

from kdjax.transforms._arrays import floats, image, pair
from kdjax.types import Array


def resize(
  key: Key[Array, ""],
  x: Float[Array, "H W C"],
  *,
  size: int | tuple[int, int],
) -> Float[Array, "H_new W_new C"]:
  """Resizes the image bilinearly, with antialiasing where it shrinks.

  Equals `PIL.Image.resize` with `BILINEAR`, except that Pillow rounds to whole
  grey values. The filter is the triangle of Heckbert, "Fundamentals of Texture
  Mapping and Image Warping", 1989, with the width of an output pixel.

  Args:
    key: not used.
    x: a float image.
    size: height and width, or one number for both; the aspect ratio may change.

  Raises:
    ShapeError: x is not an image.
    UserError: x holds integers.
  """
  del key
  x = floats(image(x, "resize"), "resize")
  shape = (*pair(size), x.shape[-1])
  return jax.image.resize(x, shape, "linear", antialias=True)
