"""Random crop of a padded image, at the image's size."""

import jax
import jax.numpy as jnp
from jaxtyping import Key, Shaped

from kdjax.errors import ShapeError, UserError
from kdjax.transforms._arrays import image
from kdjax.types import Array

_MODES = ("zero", "reflect")


def crop(
  key: Key[Array, ""],
  x: Shaped[Array, "H W C"],
  *,
  padding: int = 4,
  mode: str = "zero",
) -> Shaped[Array, "H W C"]:
  """A random window of the image's size in the padded image.

  All (2 padding + 1)^2 windows are equally likely.
  He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", CVPR
  2016, arXiv:1512.03385, Section 4.2.

  Args:
    key: draws the window.
    x: an image of any dtype.
    padding: pixels added on every side.
    mode: the padding's values. "zero" is black before normalize, and the mean
      after it; "reflect" mirrors the image without repeating the edge.

  Raises:
    ShapeError: x is not an image, or too small to be mirrored.
    UserError: the mode is unknown.
  """
  if mode not in _MODES:
    raise UserError(f"No mode '{mode}' of crop.", exists=_MODES, near=mode)
  shape = image(x, "crop").shape
  if mode == "reflect" and padding >= min(shape[:2]):
    raise ShapeError(
      f"The transform 'crop' reflects padding={padding} pixels of an image of"
      f" {shape[0]}x{shape[1]}.",
      "Expected padding below the height and width.",
    )
  wide = ((padding, padding), (padding, padding), (0, 0))
  padded = jnp.pad(x, wide, mode="constant" if mode == "zero" else mode)
  down, right = jax.random.randint(key, (2,), 0, 2 * padding + 1)
  return jax.lax.dynamic_slice(padded, (down, right, 0), shape)
