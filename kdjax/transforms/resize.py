"""An image of another size."""

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
  """The whole image by bilinear interpolation, antialiased where it shrinks.

  Equals `PIL.Image.resize` with `BILINEAR`, which rounds to whole grey values.
  The filter is the triangle of Heckbert, "Fundamentals of Texture Mapping and
  Image Warping", 1989, as wide as an output pixel.

  Args:
    key: not used.
    x: a float image.
    size: height and width, or one number for both; the ratio is not kept.

  Raises:
    ShapeError: x is no image.
    UserError: x holds no floats.
  """
  del key
  x = floats(image(x, "resize"), "resize")
  shape = (*pair(size), x.shape[-1])
  return jax.image.resize(x, shape, "linear", antialias=True)
