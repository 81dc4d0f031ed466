"""Images as lossless WebP sheets of 25 a row."""

import io
from collections.abc import Sequence

import numpy as np

COLUMNS = 25


def sheet(images: Sequence[np.ndarray]) -> bytes:
  """A sheet of uint8 images [S S 3], row by row, as WebP."""
  from PIL import Image

  side = images[0].shape[0]
  rows = -(-len(images) // COLUMNS)
  tiles = np.zeros((rows * COLUMNS, side, side, 3), np.uint8)
  tiles[: len(images)] = images
  pixels = tiles.reshape(rows, COLUMNS, side, side, 3).transpose(0, 2, 1, 3, 4)
  image = Image.fromarray(pixels.reshape(rows * side, COLUMNS * side, 3))
  file = io.BytesIO()
  image.save(file, "WEBP", lossless=True)
  return file.getvalue()
