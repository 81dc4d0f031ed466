"""The operations of RandAugment on float images in 0..1."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.transforms import _color
from kdjax.types import Array

Image = Float[Array, "H W C"]
Amount = Float[Array, ""]  # -1 to 1: the magnitude with a random sign

# The changes at the largest magnitude.
_ENHANCE = 0.9
_ANGLE = jnp.pi / 6.0
_SHEAR = 0.3
_MOVE = 0.45
_BITS = 4


def identity(x: Image, amount: Amount) -> Image:
  """No change."""
  del amount
  return x


def autocontrast(x: Image, amount: Amount) -> Image:
  """Every channel stretched to 0..1, unless it is constant."""
  del amount
  low = jnp.min(x, axis=(0, 1), keepdims=True)
  span = jnp.max(x, axis=(0, 1), keepdims=True) - low
  flat = span == 0.0
  return jnp.where(flat, x, (x - low) / jnp.where(flat, 1.0, span))


def equalize(x: Image, amount: Amount) -> Image:
  """Every channel with a uniform histogram of 256 levels.

  h(v) = (cdf(v) - cdf_min) / (pixels - cdf_min)
  """
  del amount
  levels = jnp.round(255.0 * x).astype(int)

  def channel(levels, x):
    counts = jnp.zeros(256, int).at[levels.ravel()].add(1)
    below = jnp.cumsum(counts)
    least = counts[jnp.min(levels)]
    flat = least == levels.size
    even = (below - least) / jnp.where(flat, 1, levels.size - least)
    return jnp.where(flat, x, even[levels])

  return jax.vmap(channel, in_axes=-1, out_axes=-1)(levels, x)


def solarize(x: Image, amount: Amount) -> Image:
  """Inverts pixels brighter than 1 - magnitude."""
  return jnp.where(x > 1.0 - jnp.abs(amount), 1.0 - x, x)


def color(x: Image, amount: Amount) -> Image:
  """Less or more colour, by up to 0.9."""
  return _color.saturation(x, 1.0 + _ENHANCE * amount)


def posterize(x: Image, amount: Amount) -> Image:
  """Keeps the 8 to 4 highest bits of the 256 levels."""
  step = 2.0 ** jnp.round(_BITS * jnp.abs(amount))
  return jnp.floor(jnp.round(255.0 * x) / step) * step / 255.0


def contrast(x: Image, amount: Amount) -> Image:
  """Less or more contrast, by up to 0.9."""
  return _color.contrast(x, 1.0 + _ENHANCE * amount)


def brightness(x: Image, amount: Amount) -> Image:
  """Darker or brighter, by up to 0.9."""
  return _color.brightness(x, 1.0 + _ENHANCE * amount)


def sharpness(x: Image, amount: Amount) -> Image:
  """Blurred or sharpened, by up to 0.9; border pixels stay.

  The blurred image is the mean of 3x3 pixels; the centre has 5 times the weight
  of the others.
  """
  height, width, _ = x.shape
  if min(height, width) < 3:
    return x
  total = sum(
    x[row : height - 2 + row, column : width - 2 + column]
    for row in range(3)
    for column in range(3)
  )
  inner = (total + 4.0 * x[1:-1, 1:-1]) / 13.0
  blurred = x.at[1:-1, 1:-1].set(inner)
  return _color.blend(x, blurred, 1.0 + _ENHANCE * amount)


# Operations that do not move pixels.
CHANGES: tuple[Callable[[Image, Amount], Image], ...] = (
  identity,
  autocontrast,
  equalize,
  solarize,
  color,
  posterize,
  contrast,
  brightness,
  sharpness,
)
MOVES = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")
NAMES = (*(change.__name__ for change in CHANGES), *MOVES)


def moves(
  amount: Amount, height: int, width: int
) -> Float[Array, "operations 2 3"]:
  """Source coordinates of every operation: [row, column, 1] -> [row, column].

  Coordinates are relative to the centre; operations that do not move pixels
  have the identity.
  """
  angle = _ANGLE * amount
  sine, cosine = jnp.sin(angle), jnp.cos(angle)
  still = jnp.eye(2, 3)
  moved = (
    jnp.array([[cosine, -sine, 0.0], [sine, cosine, 0.0]]),
    still.at[1, 0].set(_SHEAR * amount),
    still.at[0, 1].set(_SHEAR * amount),
    still.at[1, 2].set(_MOVE * amount * width),
    still.at[0, 2].set(_MOVE * amount * height),
  )
  return jnp.stack([*[still] * len(CHANGES), *moved])


def moved(
  x: Image, move: Float[Array, "2 3"], fill: float | Float[Array, ""]
) -> Image:
  """The image resampled bilinearly; `fill` where the source is outside."""
  height, width, _ = x.shape
  centre = jnp.array([(height - 1) / 2.0, (width - 1) / 2.0])
  rows = (jnp.arange(height) - centre[0])[:, None]
  columns = (jnp.arange(width) - centre[1])[None]
  coordinates = [
    m[0] * rows + m[1] * columns + m[2] + middle
    for m, middle in zip(move, centre, strict=True)
  ]
  # `cval` cannot be traced, so `fill` is subtracted and added.
  resample = lambda channel: jax.scipy.ndimage.map_coordinates(
    channel, coordinates, order=1, mode="constant", cval=0.0
  )
  return fill + jax.vmap(resample, in_axes=-1, out_axes=-1)(x - fill)
