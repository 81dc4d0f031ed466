"""Sun et al. 2019, Eq. (6): the distance of two states on the unit sphere."""

import math

import numpy as np

ZERO = True


def _direction(vector):
  length = math.sqrt(sum(float(x) ** 2 for x in vector))
  return [float(x) / length for x in vector]


def pkd(student, teacher, *, reduction="sum"):
  losses = np.zeros(len(student))
  for i in range(len(student)):
    own, other = student[i], teacher[i]
    if student.ndim == 3:
      own, other = own[0], other[0]
    # On the sphere |a - b|^2 is 2 - 2 a.b.
    product = sum(
      a * b for a, b in zip(_direction(own), _direction(other), strict=True)
    )
    losses[i] = 2.0 - 2.0 * product
    if reduction == "mean":
      losses[i] /= len(own)
  return losses
