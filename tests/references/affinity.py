"""He et al. 2019, Eqs. (3) and (4); "channels" as torchdistill has it."""

import math

import numpy as np

ZERO = True


def _unit(vector):
  length = math.sqrt(sum(float(v) ** 2 for v in vector))
  return [float(v) / length if length > 0 else 0.0 for v in vector]


def _outer_gap(first, second):
  """The Frobenius norm of the difference of two Gram matrices."""
  square = 0.0
  for j in range(len(first)):
    for k in range(len(first)):
      one = sum(a * b for a, b in zip(first[j], first[k], strict=True))
      other = sum(a * b for a, b in zip(second[j], second[k], strict=True))
      square += (one - other) ** 2
  return math.sqrt(square)


def affinity(student, teacher, *, form="pixels"):
  examples, height, width, channels = student.shape
  losses = np.zeros(examples)
  for i in range(examples):
    mine = student[i].reshape(-1, channels)
    theirs = teacher[i].reshape(-1, channels)
    if form == "pixels":
      gap = _outer_gap([_unit(v) for v in mine], [_unit(v) for v in theirs])
      losses[i] = gap / (height * width)
      continue
    for c in range(channels):
      one = [[v] for v in _unit(mine[:, c])]
      other = [[v] for v in _unit(theirs[:, c])]
      losses[i] += _outer_gap(one, other) / (height * width)
  return losses
