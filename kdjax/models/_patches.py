"""Patch embedding, and position embeddings resized to other image sizes."""

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


def embed(
  image: Float[Array, "B H W C"],
  patch: int,
  width: int,
  dtype: Any,
  bias: bool = True,
) -> Float[Array, "B h w D"]:
  """The patch embedding, by a layer `patches`.

  Call it inside an `nn.compact` method; it creates the parameters.

  Args:
    image: incomplete patches at its lower and right edges are dropped.
    patch: height and width of a patch.
    width: D.
    dtype: of the activations.
    bias: whether the layer has a bias.
  """
  _, H, W, _ = image.shape
  if min(H, W) < patch:
    raise ShapeError(
      f"The image of {H}x{W} is smaller than a patch of {patch}x{patch}.",
      "Expected at least one patch: use larger images or a smaller `patch`.",
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
  """Rows and columns of patches in an image of this size."""
  height, width = pair(size)
  return height // patch, width // patch


def pair(size: Any) -> tuple[int, int]:
  """Height and width, from one number for both or from a pair."""
  return (size, size) if isinstance(size, int) else tuple(size)


def patch_size(config: Mapping[str, Any], default: int) -> int:
  """The patch size in a config.json; patches must be square."""
  height, width = pair(config.get("patch_size", default))
  _encoder.require({"patch_size": width}, patch_size=(height,))
  return height


def resize(
  places: Float[Array, "T D"],
  before: tuple[int, int],
  after: tuple[int, int],
  extra: int = 0,
  antialias: bool = False,
) -> Float[Array, "_ D"]:
  """Position embeddings for another grid, by bicubic interpolation.

  Equals PyTorch's `interpolate(mode="bicubic", align_corners=False)`. The
  kernel is from Keys, "Cubic convolution interpolation for digital image
  processing", IEEE TASSP 1981, with a = -0.75, or -0.5 with antialiasing.

  Args:
    places: `extra` position embeddings, then those of the grid, row by row.
    before: rows and columns of the grid in `places`.
    after: rows and columns of the new grid.
    extra: number of embeddings that are not part of the grid.
    antialias: whether to widen the kernel when the grid shrinks.
  """
  if before == after:
    return places
  kept, resized = places[:extra], places[extra:]
  # In full precision, which is not the default on accelerators.
  resized = jnp.einsum(
    "hH,wW,HWd->hwd",
    _weights(before[0], after[0], antialias),
    _weights(before[1], after[1], antialias),
    resized.reshape(*before, -1).astype(jnp.float32),
    precision=jax.lax.Precision.HIGHEST,
  )
  resized = resized.reshape(-1, places.shape[-1]).astype(places.dtype)
  return jnp.concatenate([kept, resized])


def _weights(size: int, count: int, antialias: bool) -> np.ndarray:
  """Interpolation weights f32 [count size], from old to new positions."""
  scale = size / count
  support = max(scale, 1.0) if antialias else 1.0
  a = -0.5 if antialias else -0.75
  # New position i has its center at (i + 1/2) scale - 1/2 of the old ones.
  centre = (np.arange(count) + 0.5) * scale - 0.5
  reach = int(np.ceil(2 * support)) + 1
  near = np.floor(centre)[:, None] + np.arange(-reach, reach + 1)
  weights = _cubic((near - centre[:, None]) / support, a)
  near = near.astype(int)
  if antialias:
    # Positions outside count 0; without antialiasing, as the nearest inside.
    weights *= (near >= 0) & (near < size)
    weights /= weights.sum(axis=1, keepdims=True)
  matrix = np.zeros((count, size))
  rows = np.broadcast_to(np.arange(count)[:, None], near.shape)
  np.add.at(matrix, (rows, near.clip(0, size - 1)), weights)
  return matrix.astype(np.float32)


def _cubic(x: np.ndarray, a: float) -> np.ndarray:
  """The cubic convolution kernel."""
  x = np.abs(x)
  inner = (a + 2) * x**3 - (a + 3) * x**2 + 1
  outer = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
  return np.where(x <= 1, inner, np.where(x < 2, outer, 0.0))
