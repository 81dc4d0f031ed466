"""Numbers of the shapes of a term's arguments, to try a loss on them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def arrays_like(
  value: Any, random: np.random.Generator, rows: int | None = None
) -> Any:
  """Floats drawn from a normal distribution; whole numbers 0, booleans True.

  Args:
    value: an array, or a tuple of arrays, of which only shapes count.
    random: draws the floats.
    rows: the largest size of the first axis; None keeps it.
  """

  def made(array):
    shape = array.shape
    if rows is not None and shape:
      shape = (min(shape[0], rows), *shape[1:])
    if jnp.issubdtype(array.dtype, jnp.floating):
      return random.normal(size=shape).astype(np.float32)
    fill = np.ones if array.dtype == jnp.bool_ else np.zeros
    return fill(shape, array.dtype)

  return jax.tree.map(made, value)
