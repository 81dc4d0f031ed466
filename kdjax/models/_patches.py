"""Patches of an image and the places of another size of image, resampled."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from kdjax.errors import ShapeError
from kdjax.models import _encoder
from kdjax.types import Array


def cut(
  image: Float[Array, "B H W C"],
  patch: int,
  width: int,
  dtype: Any,
  bias: bool = True,
) -> Float[Array, "B h w D"]:
  """Every patch as a vector, by the layer `patches`.

  Called inside of a network's `nn.compact` method, whose parameters it makes.

  Args:
    image: of which what is left over by whole patches is not seen.
    patch: height and width of a patch.
    width: D.
    dtype: of activations.
    bias: whether the layer has one.
  """
  _, H, W, _ = image.shape
  if min(H, W) < patch:
    raise ShapeError(
      f"An image of {H}x{W} and patches of {patch}x{patch}.",
      "It must hold one at least.",
    )
  size = (patch, patch)
  layer = nn.Conv(
    width,
    size,
    size,
    padding="VALID",
    use_bias=bias,
    dtype=dtype,
    kernel_init=_encoder.SMALL,
    name="patches",
  )
  return layer(image.astype(dtype))


def grid(size: int | tuple[int, int], patch: int) -> tuple[int, int]:
  """Rows and columns of patches in an image of that height and width."""
  height, width = square(size)
  return height // patch, width // patch


def square(size: Any) -> tuple[int, int]:
  """Height and width, of one number for both or of a pair."""
  return (size, size) if isinstance(size, int) else tuple(size)


def one(config: Mapping[str, Any], key: str, default: int) -> int:
  """The size of a patch in a config.json, which has to be a square."""
  height, width = square(config.get(key, default))
  _encoder.built({key: width}, **{key: (height,)})
  return height


def resize(
  places: Float[Array, "T D"],
  before: tuple[int, int],
  after: tuple[int, int],
  extra: int = 0,
  antialias: bool = False,
) -> Float[Array, "_ D"]:
  """Places of another grid of patches, by bicubic interpolation.

  As PyTorch's `interpolate(mode="bicubic", align_corners=False)`, whose kernel
  is that of Keys, "Cubic convolution interpolation for digital image
  processing", IEEE TASSP 1981, with a = -0.75, and -0.5 where it antialiases.

  Args:
    places: row by row, after `extra` that have none in the grid.
    before: rows and columns of these places.
    after: rows and columns that are wanted.
    extra: how many places stay as they are.
    antialias: whether the kernel is as wide as what it leaves out.
  """
  if before == after:
    return places
  kept, moved = places[:extra], places[extra:]
  # At full precision, which accelerators do not give by default.
  moved = jnp.einsum(
    "hH,wW,HWd->hwd",
    _weights(before[0], after[0], antialias),
    _weights(before[1], after[1], antialias),
    moved.reshape(*before, -1).astype(jnp.float32),
    precision=jax.lax.Precision.HIGHEST,
  )
  moved = moved.reshape(-1, places.shape[-1]).astype(places.dtype)
  return jnp.concatenate([kept, moved])


def _weights(size: int, count: int, antialias: bool) -> np.ndarray:
  """f32 [count size]: how much each place before counts for each after."""
  scale = size / count
  wide = max(scale, 1.0) if antialias else 1.0
  a = -0.5 if antialias else -0.75
  # Of place i, the centre lies at (i + 1/2) scale - 1/2 in those before.
  centre = (np.arange(count) + 0.5) * scale - 0.5
  reach = int(np.ceil(2 * wide)) + 1
  near = np.floor(centre)[:, None] + np.arange(-reach, reach + 1)
  weights = _cubic((near - centre[:, None]) / wide, a)
  near = near.astype(int)
  if antialias:
    # What lies outside counts for nothing; otherwise it is the nearest within.
    weights *= (near >= 0) & (near < size)
    weights /= weights.sum(axis=1, keepdims=True)
  found = np.zeros((count, size))
  rows = np.broadcast_to(np.arange(count)[:, None], near.shape)
  np.add.at(found, (rows, near.clip(0, size - 1)), weights)
  return found.astype(np.float32)


def _cubic(x: np.ndarray, a: float) -> np.ndarray:
  """The cubic convolution kernel."""
  x = np.abs(x)
  inner = (a + 2) * x**3 - (a + 3) * x**2 + 1
  outer = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
  return np.where(x <= 1, inner, np.where(x < 2, outer, 0.0))
