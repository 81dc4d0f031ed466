"""Liu et al. 2019, Section 3.3: how far each example moves between layers."""

import numpy as np

ZERO = True


def _shrink(array, axis, size):
  """Means over windows of one axis, which cover it whole."""
  length = array.shape[axis]
  parts = []
  for i in range(size):
    start = (i * length) // size
    stop = -((-(i + 1) * length) // size)
    window = np.take(array, range(start, stop), axis=axis)
    parts.append(window.mean(axis=axis))
  return np.stack(parts, axis=axis)


def _moves(maps, kept, eps):
  first, second = maps
  squares = []
  for i in kept:
    one, other = first[i], second[i]
    for axis in range(3):
      size = min(one.shape[axis], other.shape[axis])
      one, other = _shrink(one, axis, size), _shrink(other, axis, size)
    square = 0.0
    for a, b in zip(one.reshape(-1), other.reshape(-1), strict=True):
      square += (float(a) - float(b)) ** 2
    squares.append(max(square, eps))
  return [square / max(squares) for square in squares]


def irg_transform(student, teacher, mask=None, *, eps=1e-12):
  kept = [i for i in range(len(student[0])) if mask is None or mask[i]]
  mine, theirs = (_moves(side, kept, eps) for side in (student, teacher))
  return sum((a - b) ** 2 for a, b in zip(mine, theirs, strict=True)) / len(
    kept
  )
