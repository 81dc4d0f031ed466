"""An image moved by a few pixels."""

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
  """A window of the image's own size, anywhere in the padded image.

  All (2 padding + 1)^2 windows are equally likely.
  He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", CVPR
  2016, arXiv:1512.03385, Section 4.2.

  Args:
    key: draws the window.
    x: an image of any type.
    padding: pixels added on every side.
    mode: what they hold. "zero" is black in front of normalize, and the mean
      behind it; "reflect" mirrors the image, the edge once.

  Raises:
    ShapeError: x is no image, or too small to be mirrored.
    UserError: an unknown mode.
  """
  if mode not in _MODES:
    raise UserError(f"No mode '{mode}' of crop.", exists=_MODES, near=mode)
  shape = image(x, "crop").shape
  if mode == "reflect" and padding >= min(shape[:2]):
    raise ShapeError(
      f"'crop' reflects {padding} pixels of {shape[0]}x{shape[1]}.",
      "They are fewer than the image has.",
    )
  wide = ((padding, padding), (padding, padding), (0, 0))
  padded = jnp.pad(x, wide, mode="constant" if mode == "zero" else mode)
  down, right = jax.random.randint(key, (2,), 0, 2 * padding + 1)
  return jax.lax.dynamic_slice(padded, (down, right, 0), shape)
