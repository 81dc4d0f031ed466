"""Checks of the arrays that transforms take."""

import jax.numpy as jnp
from jaxtyping import Float, Shaped

from kdjax.errors import ShapeError, UserError
from kdjax.types import Array


def floats(x: Shaped[Array, "*shape"], name: str) -> Float[Array, "*shape"]:
  """The array as float32; `name` is the transform, for errors.

  Raises:
    UserError: x holds integers.
  """
  if not jnp.issubdtype(x.dtype, jnp.floating):
    raise UserError(
      f"The transform '{name}' got {x.dtype} and needs floats.",
      "Put to_float (images) or to_wave (audio) before it.",
    )
  return x.astype(jnp.float32)


def image(x: Shaped[Array, "..."], name: str) -> Shaped[Array, "H W C"]:
  """The image, unchanged; `name` is the transform, for errors.

  Raises:
    ShapeError: x is not an image.
  """
  if x.ndim != 3:
    raise ShapeError(
      f"The transform '{name}' got the shape {[*x.shape]}.",
      "Expected an image [H W C].",
    )
  return x


def colors(x: Shaped[Array, "..."], name: str) -> Float[Array, "H W C"]:
  """The float image, grey or RGB; `name` is the transform, for errors.

  Raises:
    ShapeError: x is not an image, or has another number of channels.
    UserError: x holds integers.
  """
  x = floats(image(x, name), name)
  if x.shape[-1] not in (1, 3):
    raise ShapeError(
      f"The transform '{name}' got an image with {x.shape[-1]} channels.",
      "Expected 1 (grey) or 3 (RGB).",
    )
  return x


def waveform(x: Shaped[Array, "..."], name: str) -> Shaped[Array, "N"]:
  """The waveform, unchanged; `name` is the transform, for errors.

  Raises:
    ShapeError: x is not a waveform.
  """
  if x.ndim != 1:
    raise ShapeError(
      f"The transform '{name}' got the shape {[*x.shape]}.",
      "Expected a waveform [N].",
    )
  return x


def series(x: Shaped[Array, "..."], name: str) -> Float[Array, "T F"]:
  """The series as float32; `name` is the transform, for errors.

  Raises:
    ShapeError: x is not a series.
    UserError: x holds integers.
  """
  if x.ndim != 2:
    raise ShapeError(
      f"The transform '{name}' got the shape {[*x.shape]}.",
      "Expected a series [T F]: steps of F numbers.",
    )
  return floats(x, name)


def pair(size: int | tuple[int, int]) -> tuple[int, int]:
  """Height and width from a size, which may be one number for both."""
  return (size, size) if isinstance(size, int) else tuple(size)
