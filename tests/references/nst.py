"""Huang and Wang 2017, Eq. (4): the squared MMD of two sets of channels."""

import math

import numpy as np
from references.at import pooled

ZERO = True

OPTIONS = ({"degree": 3, "offset": 0.5},)


def _channels(image):
  found = []
  for c in range(image.shape[2]):
    values = [float(x) for x in image[:, :, c].reshape(-1)]
    length = math.sqrt(sum(x * x for x in values))
    found.append([x / length if length else 0.0 for x in values])
  return found


def nst(student, teacher, *, kernel="polynomial", degree=2, offset=0.0):
  def similar(x, y):
    dot = sum(a * b for a, b in zip(x, y, strict=True))
    return dot if kernel == "linear" else (dot + offset) ** degree

  def mean(first, second):
    total = 0.0
    for x in first:
      for y in second:
        total += similar(x, y)
    return total / (len(first) * len(second))

  losses = []
  for mine, theirs in zip(student, teacher, strict=True):
    size = np.minimum(mine.shape[:2], theirs.shape[:2]).tolist()
    own = _channels(pooled(mine, *size))
    taught = _channels(pooled(theirs, *size))
    losses.append(mean(taught, taught) + mean(own, own) - 2 * mean(own, taught))
  return np.array(losses)
