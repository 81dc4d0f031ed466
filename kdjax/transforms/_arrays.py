"""What transforms ask of the arrays they are given."""

import jax.numpy as jnp
from jaxtyping import Float, Shaped

from kdjax.errors import ShapeError, UserError
from kdjax.types import Array


def floats(x: Shaped[Array, "*shape"], name: str) -> Float[Array, "*shape"]:
  """The array in float32; an error of the transform `name` on whole numbers."""
  if not jnp.issubdtype(x.dtype, jnp.floating):
    raise UserError(
      f"'{name}' of an array of {x.dtype}.",
      "It is of floats: put to_float (images) or to_wave (audio) before it.",
    )
  return x.astype(jnp.float32)


def image(x: Shaped[Array, "..."], name: str) -> Shaped[Array, "H W C"]:
  """The image as it is; an error of the transform `name` where it is none."""
  if x.ndim != 3:
    raise ShapeError(f"'{name}' of {[*x.shape]}.", "It is of an image [H W C].")
  return x


def colors(x: Shaped[Array, "..."], name: str) -> Float[Array, "H W C"]:
  """A float image that is grey or has red, green and blue."""
  x = floats(image(x, name), name)
  if x.shape[-1] not in (1, 3):
    raise ShapeError(
      f"'{name}' of an image with {x.shape[-1]} channels.",
      "It is grey (1 channel) or red, green and blue (3).",
    )
  return x


def waveform(x: Shaped[Array, "..."], name: str) -> Shaped[Array, "N"]:
  """The waveform as it is; an error where it is none."""
  if x.ndim != 1:
    raise ShapeError(f"'{name}' of {[*x.shape]}.", "It is of a waveform [N].")
  return x


def pair(size: int | tuple[int, int]) -> tuple[int, int]:
  """Height and width of a size that may be given as one number."""
  return (size, size) if isinstance(size, int) else tuple(size)
