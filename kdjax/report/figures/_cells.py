"""Matrices of coloured cells, in the colours of any page."""

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.colors import to_rgba
from matplotlib.patches import Rectangle

from kdjax.report.theme import Theme

# Cells of more rows or columns are the pixels of an image.
VECTORS = 40

# From this opacity on, the number in a cell has the colour of the page.
STRONG = 0.75


def cells(
  axes: Axes, opacity: Float[np.ndarray, "R C"], tints: np.ndarray | str
) -> None:
  """Draws a matrix; a cell of opacity 0 is not drawn.

  Args:
    axes: get the limits of the matrix, its first row at the top.
    opacity: of each cell, 0 to 1.
    tints: a colour, or one of each cell [R C].
  """
  rows, columns = opacity.shape
  colours = np.empty((rows, columns, 4))
  for cell in np.ndindex(rows, columns):
    tint = tints if isinstance(tints, str) else tints[cell]
    colours[cell] = to_rgba(tint, float(opacity[cell]))
  axes.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))
  if max(rows, columns) > VECTORS:
    axes.imshow(colours, interpolation="none", aspect="auto")
    return
  drawn = [*zip(*np.nonzero(opacity), strict=True)]
  squares = [Rectangle((x - 0.5, y - 0.5), 1, 1) for y, x in drawn]
  shades = [colours[cell] for cell in drawn]
  axes.add_collection(
    PatchCollection(squares, facecolors=shades, edgecolors="none")
  )


def write(
  axes: Axes,
  cell: tuple[int, int],
  words: str,
  opacity: float,
  theme: Theme,
  size: float = 8,
) -> None:
  """Writes into a cell (row, column), readable on its colour."""
  row, column = cell
  axes.text(
    column,
    row,
    words,
    ha="center",
    va="center",
    fontsize=size,
    in_layout=False,
    color=theme.background if opacity > STRONG else theme.ink,
  )
