"""Finds probabilities among outputs that are called logits."""

from collections.abc import Mapping

import numpy as np

from kdjax.errors import UserError

# How far the sum of probabilities in 8 or 16 bits may be from 1.
ROUNDING = 2e-2
# Rows that are compared at a time.
ROWS = 65536


def check(source: str, arrays: Mapping[str, np.ndarray]) -> None:
  """Checks that logits are no probabilities.

  A softmax of probabilities is nearly uniform: a student learns little from it.

  Args:
    source: the file, for the message.
    arrays: output -> [N .. K]; those with logits in their name are checked.

  Raises:
    UserError: all rows of logits are in 0..1 and sum to 1.
  """
  for name, array in arrays.items():
    if "logits" not in name or array.ndim < 2 or not is_probability(array):
      continue
    raise UserError(
      f"'{name}' {list(array.shape)} of {source} are probabilities: every row"
      " is in 0..1 and sums to 1. A loss would take their softmax once more.",
      f"Expected logits, as they are before the softmax. The logarithm will do:"
      f" {name} = np.log(np.maximum({name}, 1e-7)).",
    )


def is_probability(array: np.ndarray) -> bool:
  """Whether every row of the last axis is in 0..1 and sums to 1."""
  if not array.size or array.shape[-1] < 2:
    return False
  rows = array.reshape(-1, array.shape[-1])
  for start in range(0, len(rows), ROWS):
    part = rows[start : start + ROWS].astype(np.float32)
    if not (np.all(part >= 0.0) and np.all(part <= 1.0)):
      return False
    if np.any(np.abs(part.sum(axis=1) - 1.0) > ROUNDING):
      return False
  return True
