"""Checks that the outputs to store are finite."""

import math

import numpy as np

from kdjax.errors import UserError


def finite(x: np.ndarray) -> np.ndarray:
  """Rows as f32; raises `UserError` unless all values are finite."""
  wide = np.asarray(x)
  x = wide.astype(np.float32)
  wrong = ~np.isfinite(x.reshape(len(x), math.prod(x.shape[1:])))
  if wrong.any():
    rows = np.flatnonzero(wrong.any(axis=1))
    value = wide.reshape(wrong.shape)[wrong][0]
    raise UserError(
      f"The teacher's output is not finite in {len(rows)} of {len(x)} rows: "
      f"row {rows[0]} has {value}.",
      "Expected finite numbers.",
    )
  return x
