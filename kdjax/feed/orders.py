"""Orders of examples, and repeats in them."""

import functools

import numpy as np


def permutation(seed: int, pool: int, epoch: int, size: int) -> np.ndarray:
  """The order of a seed's epoch."""
  return np.random.default_rng([seed, pool, epoch]).permutation(size)


@functools.lru_cache(maxsize=2**17)
def cached(seed: int, pool: int, epoch: int, size: int) -> np.ndarray:
  """The same, cached for the next stages of the seed."""
  return permutation(seed, pool, epoch, size).astype(np.uint16)


def first(positions: np.ndarray) -> np.ndarray:
  """bool [steps B]: where a position is in its batch for the first time."""
  order = np.argsort(positions, axis=1, kind="stable")
  ordered = np.take_along_axis(positions, order, axis=1)
  new = np.diff(ordered, axis=1, prepend=-1) != 0
  marks = np.zeros_like(new)
  np.put_along_axis(marks, order, new, axis=1)
  return marks
