"""Ranzinger et al. 2024: 0.9 of the cosine distance and 0.1 of smooth L1."""

import math

import numpy as np

ZERO = True


def _smooth(gap):
  return gap * gap / 2 if abs(gap) < 1 else abs(gap) - 0.5


def cosine_smooth_l1(student, teacher, *, cosine_weight=0.9, l1_weight=0.1):
  losses = np.zeros(student.shape[:-1])
  for position in np.ndindex(losses.shape):
    pairs = [
      (float(a), float(b))
      for a, b in zip(student[position], teacher[position], strict=True)
    ]
    dot = sum(a * b for a, b in pairs)
    lengths = math.hypot(*(a for a, _ in pairs)) * math.hypot(
      *(b for _, b in pairs)
    )
    far = 1.0 - (dot / lengths if lengths else 0.0)
    smooth = sum(_smooth(a - b) for a, b in pairs) / len(pairs)
    losses[position] = cosine_weight * far + l1_weight * smooth
  return losses
